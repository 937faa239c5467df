"""Work orders: from an incident, a call or a plan to a repair that the kiosk itself has proved."""
