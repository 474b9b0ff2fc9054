"""The official module's functions, with a journal, proven readings and orders sent at most once."""
