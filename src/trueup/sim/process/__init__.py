"""The simulated terminal as a separate process."""
