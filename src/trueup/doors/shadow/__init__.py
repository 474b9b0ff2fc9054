"""A watch beside a bot that is not ours: it reads, keeps a book of its own, and sends nothing."""
