"""Checks that place orders on a demo account."""
