"""The gateway's record of requests, by which each order is sent at most once."""
