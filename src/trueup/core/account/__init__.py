"""Which account a book belongs to, and whether a reading of it may be believed."""
