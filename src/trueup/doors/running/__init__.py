"""Run a strategy: the loop, the commands of a second shell, and the service manager."""
