"""Clocks, and the times that a book takes from them."""
