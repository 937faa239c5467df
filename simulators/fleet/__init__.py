"""Light kiosks: one process holds up to 5,000 that speak the real protocol over mutual TLS."""
