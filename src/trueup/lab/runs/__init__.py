"""Runs of the simulated world: a single run, many runs, and the situations that they met."""
