"""The plan of a run: what goes wrong and when, drawn from a seed, and how to shorten the plan."""
