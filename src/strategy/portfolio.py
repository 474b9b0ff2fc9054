"""The guide's import path for the portfolio; the classes live in `trueup.runtime.bot.portfolio`."""

from __future__ import annotations

from trueup.runtime.bot.portfolio import (
    Order,
    OrderStatus,
    PortfolioManager,
    Position,
    create_fill_response,
)

__all__ = ["Order", "OrderStatus", "PortfolioManager", "Position", "create_fill_response"]
