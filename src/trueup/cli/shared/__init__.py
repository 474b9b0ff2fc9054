"""Options, addresses and output that several commands share."""
