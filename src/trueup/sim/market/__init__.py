"""Prices, symbols, switches and the rows of a simulated broker."""
