"""The flight recorder: the last minutes of every device's frames in memory, without what is a person's."""
