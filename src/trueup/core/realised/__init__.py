"""Count the realised result of positions and orders from the broker's deals."""
