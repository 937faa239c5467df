"""The fleet server: registry, uplink, presence, telemetry, alarms and the staff API of the kiosk fleet.

Features are layered; a lower one never imports a higher one (`pyproject.toml`, contract 3a). `app` is the
only place that constructs; `__main__` is the command line.
"""
