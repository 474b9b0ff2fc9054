"""Requests of bots, answered from the terminal."""
