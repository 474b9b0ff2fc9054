"""Runs of the simulated world, one or many, and what they met."""
