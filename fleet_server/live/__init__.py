"""The live channel: a snapshot once, then whole changed rows by sequence number."""
