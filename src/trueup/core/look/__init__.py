"""Everything that one sync depends on, and how long a change may take to show."""
