"""The Model Context Protocol server: an assistant reads a bot's state, and asks for orders."""
