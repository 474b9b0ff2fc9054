"""The connection to MetaTrader 5: terminal, worker, gateway server, and client."""
