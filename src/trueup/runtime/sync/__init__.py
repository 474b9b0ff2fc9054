"""The reconciler: decides when to read the broker, reads, and corrects the book."""
