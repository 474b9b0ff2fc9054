"""Risk limits and the modes of a person: pure decisions about the orders that may leave."""
