"""What one sync would change in the book, and what it leaves alone."""
