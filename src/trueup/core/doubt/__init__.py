"""What became of an order in doubt, by evidence or by a person."""
