"""The faults: the function that carries out each strike of a plan, by subject."""
