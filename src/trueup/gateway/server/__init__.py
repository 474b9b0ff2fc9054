"""Sockets, queues and the running gateway."""
