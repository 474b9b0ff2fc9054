"""The seeded world: a whole system in one thread and one virtual time, under faults."""
