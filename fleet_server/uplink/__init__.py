"""The durable uplink: batches from kiosks into the store, receipts after COMMIT."""
