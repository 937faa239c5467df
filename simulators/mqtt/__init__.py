"""A small MQTT 5 client of our own: thousands of connections in one process, independent of the product's."""
