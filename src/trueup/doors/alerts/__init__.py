"""Alerts: one message when something is not well with a book, and one when that is over."""
