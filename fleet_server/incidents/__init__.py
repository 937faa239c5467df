"""One cause is one incident: alarms grouped by time and topology, with the people's part of its life."""
