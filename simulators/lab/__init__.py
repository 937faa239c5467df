"""A lab: all devices of whole kiosks on real transports, for testers and demonstrations."""
