"""The drill: real processes that are killed in the middle of an order."""
