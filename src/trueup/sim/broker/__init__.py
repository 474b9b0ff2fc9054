"""The trade server of the simulated terminal, and its ledger."""
