"""Read and prove the rows of a journal."""
