"""Carry out what assistants propose and submit, by the bot's own order desk."""
