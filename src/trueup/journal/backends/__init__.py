"""SQLite and PostgreSQL, their locks, and the repair of damaged files."""
