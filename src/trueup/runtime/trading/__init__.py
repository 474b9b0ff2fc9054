"""The trading loop, which runs a strategy."""
