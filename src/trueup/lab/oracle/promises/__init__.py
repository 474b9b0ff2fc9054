"""The checkers: one class for each promise, or for a part of a promise."""
