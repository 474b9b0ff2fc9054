"""The bot: its book, its order desk, and the rules for new orders."""
