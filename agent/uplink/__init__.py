"""The fleet's side of the agent: identity, connection, and the outbox that survives power loss.

Reading order: rows (a record as bytes), spool (the SQLite file), retention and salvage (what happens to it),
outbox (what the rest of the agent uses), pump (what is sent when), session (the connection), enrolment.
"""
