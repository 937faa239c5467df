"""What the machine says about itself: samples, conditions with hysteresis, inactivity clocks."""
