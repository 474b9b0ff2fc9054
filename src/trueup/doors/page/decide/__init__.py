"""An approver's actions: what is true now, one question, and what became of it."""
