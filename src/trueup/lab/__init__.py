"""The proof: seeded worlds full of faults, their judges, drills and reports."""
