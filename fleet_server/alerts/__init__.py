"""Which alarms are up: raised and cleared by edges from kiosks and from the server itself."""
