"""The way to the patient platform, and what this kiosk knows of orders whose money moves."""
