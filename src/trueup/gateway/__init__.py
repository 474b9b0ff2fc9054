"""The seam to MetaTrader 5: terminal, link, client and server."""
