"""A simulated MetaTrader 5 terminal: deterministic, with a switch for each broker behaviour."""
