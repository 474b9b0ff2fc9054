"""Many machines that share the accounts of one journal in PostgreSQL, which alone decides."""
