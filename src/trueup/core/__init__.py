"""The pure core: (journal, broker snapshot, policy, now) -> plan. No clock, socket, disk or log."""
