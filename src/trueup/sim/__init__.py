"""A simulated MetaTrader 5 terminal, deterministic and full of switches."""
