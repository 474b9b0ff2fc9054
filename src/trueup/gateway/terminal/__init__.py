"""Access to the official MetaTrader 5 module, or to a replacement with the same functions."""
