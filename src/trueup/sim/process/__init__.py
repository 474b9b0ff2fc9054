"""The simulated terminal as a process of its own."""
