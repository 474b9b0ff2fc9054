"""Is everything well between this machine and the broker? Looks, and changes nothing."""
