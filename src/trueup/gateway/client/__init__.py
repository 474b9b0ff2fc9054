"""The client side of the wire, used by bots."""
