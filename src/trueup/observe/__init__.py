"""What people and machines read of it: status, log, live view. Reads, never writes."""
