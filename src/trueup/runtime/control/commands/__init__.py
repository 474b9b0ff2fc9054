"""The commands that a running bot carries out for a second shell, the page and assistants."""
