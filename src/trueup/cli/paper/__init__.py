"""`trueup paper`: run a strategy on paper, with a live view and a written policy."""
