"""The hospital information system behind one port, with an adapter per interface standard."""
