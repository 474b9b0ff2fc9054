"""Commands for the simulated terminal: start the terminal, trade by hand."""
