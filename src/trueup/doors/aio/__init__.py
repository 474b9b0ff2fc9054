"""The account for asyncio: the same book, with a thread of its own that waits for the broker."""
