"""The texts for events: one class of words for each class of event."""
