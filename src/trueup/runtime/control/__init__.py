"""How a second shell finds and asks a running bot."""
