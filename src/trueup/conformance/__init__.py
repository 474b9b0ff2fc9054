"""Check any gateway against the written protocol, over its port."""
