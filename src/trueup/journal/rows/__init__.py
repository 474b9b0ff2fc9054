"""Rows of the journal: the bytes of an event and the hash chain."""
