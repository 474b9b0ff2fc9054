"""The checkers: a class for each promise, or for a part of a promise."""
