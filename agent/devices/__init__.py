"""The devices of a kiosk: one folder per capability, always the same files."""
