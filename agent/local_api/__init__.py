"""The kiosk UI's side of the agent: HTTP on 127.0.0.1."""
