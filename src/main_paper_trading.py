"""The guide's import path for the gateway, and `python -m src.main_paper_trading`."""

from __future__ import annotations

from trueup.cli.paper import main
from trueup.gateway.client import ExecutionGateway

__all__ = ["ExecutionGateway", "main"]

if __name__ == "__main__":
    main()
