"""The guide's import path for the portfolio; the classes live in `trueup.runtime.portfolio`."""

from __future__ import annotations

from trueup.runtime.portfolio import (
    Order,
    OrderStatus,
    PortfolioManager,
    Position,
    create_fill_response,
)

__all__ = ["Order", "OrderStatus", "PortfolioManager", "Position", "create_fill_response"]
