"""Incidents of the night, with real processes: what happens, what the product says, what to do."""
