"""The simulated terminal: the functions of the official module."""
