"""Read the terminal: snapshots, history, digests, and the watcher."""
