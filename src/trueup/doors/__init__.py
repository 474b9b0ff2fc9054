"""The doors to an account: its book as an object, and the official module's own functions."""
