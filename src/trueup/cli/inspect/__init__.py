"""Commands that read and check, and change nothing: audit, doctor, conformance."""
