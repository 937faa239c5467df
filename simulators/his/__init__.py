"""A hospital information system for testers: one invented hospital behind a JSON and a SOAP interface.

It speaks the kiosk interfaces of Chinese HIS vendors and imports nothing of what it exercises.
"""
