"""`trueup alerts`: tell a person when something is not well, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared.ending import end_on_request
from trueup.cli.shared.journal_place import JournalOption, LastStreamOption, default_journal
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.core.dates import iso
from trueup.errors import TrueupError
from trueup.settings import load_settings

if TYPE_CHECKING:
    from trueup.doors.alerts.alerter import Looked
    from trueup.doors.alerts.options import Options
    from trueup.doors.alerts.serve import Outcome

app: typer.Typer = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
NOT_INSTALLED = "Alerts need their extra: pip install 'trueup[alerts]'."
NOT_SENT = 1


@app.callback()
def alerts(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, send what is to be sent, and end.")
    ] = False,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: LastStreamOption = None,
    log_json: LogJsonOption = False,
) -> None:
    """Tell you when a bot needs you, and when it is over.

    A condition is told once, and once more when it is over, with the sentence of `trueup status`.
    The receivers, the quiet hours and the heartbeat are settings, TRUEUP_ALERTS_TO and others:
    `trueup config show` lists them. The command runs until Ctrl-C, beside the bots of this folder.

    Exit code 1 with --once: a receiver did not take a message.
    """
    if ctx.invoked_subcommand is not None:
        return
    if as_json and not once:
        raise WrongUsage("--json is for --once; the log of the command is JSON with --log-json.")
    options = _options()
    from trueup.doors.alerts.serve import once as look_once
    from trueup.doors.alerts.serve import serve
    from trueup.doors.watch import Place

    place = Place(journal or default_journal(), stream, is_given=journal is not None)
    if not once:
        set_up_log(console=True, file=None, as_json=log_json)
        # A message that is on its way is marked first; a kill would send it again.
        end_on_request()
        serve(options, place, _say_begin)
        return
    looked, outcomes, trouble = look_once(options, place)
    if as_json:
        print_document("alerts", _document(looked, outcomes, trouble))
    else:
        for message in looked.messages:
            say(f"{message.title}\n{message.body}\n")
        count = len(looked.conditions)
        say(f"{count} condition{'s' * (count != 1)}, {len(looked.messages)} new messages.")
        _say_outcomes(outcomes)
        if trouble:
            say(f"Not all books can be read: {trouble}", err=True)
    _exit_by(outcomes)


@app.command("test")
def try_receivers(as_json: JsonOption = False) -> None:
    """Send a test message to each receiver, and the heartbeat.

    Exit code 1: a receiver did not take it.
    """
    options = _options()
    from trueup.doors.alerts.serve import try_out

    outcomes = try_out(options)
    if as_json:
        print_document("alerts test", {"receivers": _rows(outcomes)})
    else:
        _say_outcomes(outcomes)
    _exit_by(outcomes)


def _options() -> Options:
    try:
        import trueup.doors.alerts.receivers  # noqa: F401 - the only module that needs the extra
    except ModuleNotFoundError as error:
        raise TrueupError(NOT_INSTALLED) from error
    from trueup.doors.alerts.options import options_of

    return options_of(load_settings())


def _say_begin(receivers: int) -> None:
    say(f"Alerts go to {receivers} receiver{'s' * (receivers != 1)} until Ctrl-C.")


def _say_outcomes(outcomes: Sequence[Outcome]) -> None:
    for one in outcomes:
        say(f"{one.name}: {f'not sent: {one.why}' if one.why else 'sent'}", err=bool(one.why))


def _exit_by(outcomes: Sequence[Outcome]) -> None:
    if any(one.why for one in outcomes):
        raise typer.Exit(NOT_SENT)


def _rows(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    return [{"name": one.name, "sent": not one.why, "error": one.why} for one in outcomes]


def _document(looked: Looked, outcomes: Sequence[Outcome], trouble: str) -> dict[str, object]:
    return {
        "conditions": [
            {
                "id": one.id,
                "book": one.book,
                "kind": one.kind,
                "state": one.state.value,
                "sentence": one.sentence,
                "since": iso(one.since_ns),
                "told": one.told is not None,
                "away_since": None if one.gone_ns is None else iso(one.gone_ns),
            }
            for one in looked.conditions
        ],
        "messages": [
            {
                "level": one.level,
                "title": one.title,
                "body": one.body,
                "conditions": list(one.conditions),
            }
            for one in looked.messages
        ],
        "receivers": _rows(outcomes),
        "trouble": trouble,
    }
