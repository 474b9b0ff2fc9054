"""The bot's end of the wire."""
