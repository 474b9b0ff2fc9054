"""The page of a fleet: nodes and accounts by its database, and what a person asks of it."""
