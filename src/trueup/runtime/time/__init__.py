"""Clocks, and the times of a book's events by these clocks."""
