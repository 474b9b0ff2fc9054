"""The book: its events, its positions and orders, and how events change it."""
