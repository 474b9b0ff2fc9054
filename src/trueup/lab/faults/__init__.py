"""The faults: what each strike of a plan does to the simulated world, by subject."""
