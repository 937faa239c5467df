"""Devices of a kiosk, simulated: each speaks its protocol on a pty, a port or a virtual reader."""
