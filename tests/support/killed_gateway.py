"""`trueup gateway` as it is, but for the moment at which it is killed.

`killed_gateway.py POINT GRACE_SEC OPTIONS...`: POINT is a `GatewayPoint`, or `-` to live.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial

from tests.support.hurt import ShiftedClock, allow_hurts
from tests.support.processes import KILL
from trueup.cli import app
from trueup.cli.gateway.gateway import gateway as command
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.server import service


def die_at(wanted: str, point: GatewayPoint) -> None:
    """End without any of the manners of an end."""
    if point.value == wanted:
        os.kill(os.getpid(), KILL)
        time.sleep(60)


def main() -> None:
    """Run the gateway."""
    point, grace_sec, *options = sys.argv[1:]
    allow_hurts("gateway")
    setattr(command, "SystemClock", ShiftedClock)  # noqa: B010
    desk = partial(Desk, crash=partial(die_at, point), grace_sec=int(grace_sec))
    setattr(service, "Desk", desk)  # noqa: B010
    app(["gateway", *options])


if __name__ == "__main__":
    main()
