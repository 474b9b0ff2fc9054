"""Find and ask a running bot from a second shell."""
