"""The official MetaTrader 5 module, or whatever has its functions."""
