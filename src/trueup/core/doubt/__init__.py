"""Find the outcome of an order in doubt, by evidence or by a person."""
