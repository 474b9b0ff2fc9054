"""Collect the inputs and results of a sync, and time how late the broker may show a change."""
