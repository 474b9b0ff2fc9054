"""Many accounts in one process: their file, their loops over one poller, and their commands."""
