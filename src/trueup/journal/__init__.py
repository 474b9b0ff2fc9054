"""The journal: append-only events from which a book is folded."""
