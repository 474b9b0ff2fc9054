"""The simulated terminal, with the functions of the official module."""
