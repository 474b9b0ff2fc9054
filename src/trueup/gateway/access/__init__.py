"""Access control: keys, the allow file, connection limits, rate limits."""
