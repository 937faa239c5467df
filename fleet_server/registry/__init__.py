"""Who belongs to the fleet: assets, identities, enrolment, revocation, and what the broker is told of it."""
