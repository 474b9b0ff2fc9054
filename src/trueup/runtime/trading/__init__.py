"""The loop that runs a strategy."""
