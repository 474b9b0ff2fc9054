"""SQLite and PostgreSQL: connections, locks, and the repair of damaged files."""
