"""The seeded world: a whole system in a single thread and a virtual time, under faults."""
