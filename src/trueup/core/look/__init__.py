"""What one look at the broker depends on, and how long a change may take to show."""
