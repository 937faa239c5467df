"""What an engineer does at the kiosk: tests every device, changes paper, and leaves signed results behind."""
