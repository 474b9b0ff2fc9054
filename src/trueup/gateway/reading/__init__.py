"""What a gateway reads from the terminal and shows to bots."""
