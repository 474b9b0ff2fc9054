"""The journal as tables: orders, deals, trades, and the results of strategies."""
