"""Events as rows: their bytes and their hash chain."""
