"""Process plumbing that knows no trade: time, tasks, threads, logs, settings, MQTT, HTTP, stores, metrics."""
