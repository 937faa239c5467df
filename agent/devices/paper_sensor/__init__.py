"""Boards with paper sensors, door switches and guidance lights."""
