"""`trueup run --accounts`: many accounts in one process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from trueup.cli.shared.log_options import set_up_log
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.logs import logger


def run_many(
    place: str,
    *,
    duration_sec: float | None,
    log_file: Path | None,
    log_json: bool,
    others: Mapping[str, object],
) -> None:
    """Run the accounts of a file or a table.

    Args:
        place: the file, or the URL of the database with the table.
        duration_sec: end after so many seconds; None for no end.
        log_file: a file for the log, beside the console.
        log_json: whether log lines are JSON objects.
        others: the options of a single bot, by name.

    Raises:
        WrongUsage: an option of a single bot is given.
        SettingsError, TrueupError: as for `run_accounts`.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise WrongUsage(
            f"{given[0]} is for a single bot: with --accounts, write it into the file or table."
        )
    set_up_log(console=True, file=log_file, as_json=log_json)
    # A line for each sync of a thousand accounts would bury all others.
    if not log_json:
        logger("trueup.reconciler").setLevel(logging.WARNING)
    # Imported here: a single bot does not need it.
    from trueup.doors.accounts.run_accounts import run_accounts
    from trueup.doors.accounts.source import source_of

    with contextlib.closing(source_of(place)) as source:
        run_accounts(source, duration_sec)
    say("Ended. Positions and pending orders stay as they are.")
