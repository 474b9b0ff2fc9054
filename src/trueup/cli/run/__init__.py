"""`trueup run`: run a strategy of one's own on an account."""
