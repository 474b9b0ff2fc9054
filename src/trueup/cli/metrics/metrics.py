"""`trueup metrics`: serve metrics for Prometheus, and health for a supervisor."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared.ending import end_on_request
from trueup.cli.shared.journal_place import JournalOption, LastStreamOption, default_journal
from trueup.cli.shared.say import say
from trueup.errors import TrueupError

NOT_INSTALLED = "The metrics need their extra: pip install 'trueup[metrics]'."
OPEN = (
    "WARNING: whoever reaches {host} can read the account's number, its money and its state; let "
    "only Prometheus reach it."
)


def metrics(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")
    ] = 9787,
    journal: JournalOption = None,
    stream: LastStreamOption = None,
) -> None:
    """Serve metrics for Prometheus, and health.

    The process reads the bots and the journals of this folder when somebody asks, writes nothing,
    and goes on when no bot does. /metrics is for Prometheus; /livez, /readyz and /healthz answer
    200 or 503. Only this machine can read them, unless you give another --host. The command runs
    until Ctrl-C.
    """
    try:
        from trueup.doors.listening import LOOPBACK
        from trueup.doors.metrics.serve import serve
        from trueup.doors.watch import Place
    except ModuleNotFoundError as error:
        raise TrueupError(NOT_INSTALLED) from error
    if host not in LOOPBACK:
        say(OPEN.format(host=host), err=True)
    end_on_request()
    place = Place(journal or default_journal(), stream, is_given=journal is not None)
    serve(host, port, place, lambda address: say(f"Metrics at {address}/metrics until Ctrl-C."))
