"""The worker process that calls the terminal, its deadlines, and its replacement."""
