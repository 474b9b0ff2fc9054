"""A bot's book, its order desk, and what its strategy asks."""
