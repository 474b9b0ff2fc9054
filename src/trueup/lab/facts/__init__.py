"""What happened in a simulated run, as facts for its judges."""
