"""The plan of a run: faults with their times, drawn from a seed; and how to shorten a plan."""
