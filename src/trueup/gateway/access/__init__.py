"""Who may use a gateway: keys, the allow file, connections, rates."""
