"""A page for a person at night: Now, Books, Orders, Story, Accounts and Approve, in a browser."""
