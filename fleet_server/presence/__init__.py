"""Whether each kiosk is there: judged in one place, by the leader, from will, birth and heartbeat."""
