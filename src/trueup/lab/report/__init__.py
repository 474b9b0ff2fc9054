"""A simulated run for a person, in words and as a page."""
