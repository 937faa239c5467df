"""Patients, appointments, payments and reports; this release has only the entry point."""
