"""Registering with a doctor: departments, doctors, slots, the lock on one of them."""
