"""Samples and events as they came from the kiosks, and questions about them."""
