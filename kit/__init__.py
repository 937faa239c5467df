"""Process plumbing without a hospital word: time, tasks, threads, logs, settings, MQTT, HTTP, stores, metrics."""
