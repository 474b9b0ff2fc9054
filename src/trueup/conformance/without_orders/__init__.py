"""Checks that send no order."""
