"""Check everything between this machine and the broker, without changing anything."""
