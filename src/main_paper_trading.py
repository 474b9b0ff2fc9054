"""The guide's import path for the gateway, and `python -m src.main_paper_trading`."""

from __future__ import annotations

import sys

from trueup.__main__ import main as run
from trueup.gateway.client.execution_gateway import ExecutionGateway

__all__ = ["ExecutionGateway", "main"]


def main() -> None:
    """Run `trueup paper` with this process's arguments."""
    run(["paper", *sys.argv[1:]])


if __name__ == "__main__":
    main()
