"""Turn events into text: log lines, audit entries, and the story of a journal."""
