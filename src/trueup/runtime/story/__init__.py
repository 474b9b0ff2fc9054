"""Events in words: log lines, audit entries, and a journal told."""
