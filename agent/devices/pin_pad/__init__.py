"""Encrypting PIN pads."""
