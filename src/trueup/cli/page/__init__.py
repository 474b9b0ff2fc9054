"""`trueup page`: a page for a browser that shows the state, and takes a person's decisions."""
