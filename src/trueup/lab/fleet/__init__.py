"""The simulated fleet: several nodes, a database server and gateways in one process, by a seed."""
