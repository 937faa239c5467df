"""A4 printers for reports."""
