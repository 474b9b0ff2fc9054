"""Everything that is said of an event: one class of words for each class of event."""
