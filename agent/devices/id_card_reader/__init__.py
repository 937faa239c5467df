"""Readers of resident identity cards and the residence permits that look like them."""
