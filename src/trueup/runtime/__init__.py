"""The shell around the core: clock, portfolio, reconciler, and the loops that drive them."""
