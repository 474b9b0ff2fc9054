"""Check that a reading is of the right account and can be trusted."""
