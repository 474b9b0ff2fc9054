"""When to look at the broker, and what a sync does."""
