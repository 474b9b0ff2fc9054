"""What closed positions and orders came to, counted from the broker's deals."""
