"""Metrics for Prometheus, and health for a supervisor, of the bots of a folder."""
