"""Append to a journal, and repair a journal when a writer opens it."""
