"""Plan the changes of a sync, and hold the differences that must wait."""
