"""Keep the book: its events, its positions and orders, and the change by each event."""
