"""The channels: each turns its own protocol into the evidence of `payment.ports`."""
