"""The status of a book: one frozen struct, made in one place, and its text for a terminal."""
