"""Enforce risk limits: read the account's figures, journal what must last, refuse entries."""
