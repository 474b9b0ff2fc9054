"""Answer the requests of bots from the terminal."""
