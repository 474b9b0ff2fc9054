"""Commands for a gateway: run, install as a service, keys."""
