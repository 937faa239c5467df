"""The headless agent of one patient self-service kiosk."""
