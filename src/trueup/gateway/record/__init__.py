"""The gateway's record of requests: each order is sent at most once."""
