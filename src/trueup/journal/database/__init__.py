"""The interface to a database, its SQL statements and its migrations."""
