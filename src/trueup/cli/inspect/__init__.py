"""Commands that read and check: audit, replay, journal, doctor, reconcile, conformance."""
