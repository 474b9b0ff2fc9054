"""`trueup watch`: watch an account beside another bot, read-only, and report what it missed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.inspect.conformance import KeyFileOption, ServerKeyOption
from trueup.cli.inspect.doctor import NO_GATEWAY, GatewayOption, target_of
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import columns, say
from trueup.doors.running.signals import stopped_by_signals
from trueup.doors.shadow.gateway import WatchingGateway, wait_for_account
from trueup.doors.shadow.watch import EVERY_SEC, ShadowWatch
from trueup.errors import SettingsError, TrueupError
from trueup.observe.shadow.report import ShadowReport
from trueup.observe.shadow.text import live_line, report_values, write_report
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.time.clock import SystemClock
from trueup.runtime.time.moments import span_sec
from trueup.settings import load_settings

JOURNAL_FILE = "shadow.db"
LOG_FILE = "shadow.log"
NOT_INSTALLED = (
    "--report needs the extra of the page: pip install 'trueup[page]'. Without it the report is "
    "printed, and --json has all of it."
)


def watch(
    gateway: GatewayOption = None,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Watch beside a bot that is not ours; the only way so far."),
    ] = True,
    magic: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=2**64 - 1,
            help="A magic number of the bot; repeatable. Without any, all that programs do counts "
            "as the bot's.",
        ),
    ] = None,
    length: Annotated[
        str | None,
        typer.Option("--for", metavar="8h", help="End after this time; Ctrl-C before."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the report to an HTML file as well."),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.1, max=60.0, metavar="SECONDS", help="Pause between two looks.")
    ] = EVERY_SEC,
    server_key: ServerKeyOption = None,
    key_file: KeyFileOption = None,
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|postgresql://...",
            help=f"The watch's own journal; by default {JOURNAL_FILE} in the state folder.",
        ),
    ] = None,
    log_json: LogJsonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Watch an account beside your bot, and send nothing.

    For a bot that is written without trueup and trades the account of a `trueup gateway`. The watch
    reads the account through the gateway, keeps a book of its own, and at its end prints what the
    bot would not have known unless it looked: ghosts, zombies, missing stops, late deals, stale
    periods and more, each with its proof. It sends no order; a key that only reads is enough.

    Ctrl-C ends the watch with its report. A later watch goes on with the same book, also after a
    kill, and says what happened meanwhile. Exit code 0: the report was made. 2: nothing was seen,
    or the watch could not begin.
    """
    limit_sec = None if length is None else span_sec(length, "--for")
    settings = load_settings()
    write_page = _page_writer(report)
    target = target_of(gateway, settings, server_key, key_file, [])
    if target is None:
        raise TrueupError(f"{NO_GATEWAY}: set GTW_HOST and GTW_PORT, or give --gateway.")
    place = journal or state_folder() / JOURNAL_FILE
    set_up_log(console=False, file=state_folder() / LOG_FILE, as_json=log_json)
    clock = SystemClock()
    begin_ns, stopped = clock.age_ns(), list[bool]()

    def is_over() -> bool:
        has_passed = limit_sec is not None and clock.age_ns() - begin_ns >= limit_sec * 1e9
        return bool(stopped) or has_passed

    client = WatchingGateway(
        target.host,
        target.port,
        target.timeout_ms,
        server_key=target.server_key,
        key_file=target.key_file or None,
    )
    with (
        stopped_by_signals(lambda: stopped.append(True)),
        _watching(client, place, clock, is_over, magic or []) as one,
    ):
        if one is None:
            raise TrueupError(f"Nothing was seen: {client.url} named no account until the end.")
        one.run(every, is_over, _shower(one))
        made = one.report()
    if write_page is not None:
        write_page(made)
    if as_json:
        print_document("watch", report_values(made))
    else:
        say(f"\n{write_report(made, columns())}")
    if report is not None:
        say(f"\nThe report is in {report}.", err=as_json)


@contextlib.contextmanager
def _watching(
    client: WatchingGateway,
    place: str | Path,
    clock: SystemClock,
    is_over: Callable[[], bool],
    magics: list[int],
) -> Iterator[ShadowWatch | None]:
    """Yield the watch, once the gateway has named its account; None if the end comes before."""
    with client:
        first = wait_for_account(client, clock, is_over, _tell)
        if first is None:
            yield None
            return
        if isinstance(place, Path):
            place.parent.mkdir(parents=True, exist_ok=True)
        name = first.account.name
        one = ShadowWatch(client, name, place, clock, magics, first.server_time_msc)
        _tell(f"Watching {name} at {client.url}. Nothing is sent. Ctrl-C ends this.")
        try:
            yield one
        finally:
            one.close()


def _shower(one: ShadowWatch) -> Callable[[], None]:
    """Return a function that prints what is new after a look."""
    said = [""]

    def show() -> None:
        for finding in one.fresh():
            _tell(live_line(finding))
        # The sentence may count seconds: the first says all.
        if bool(one.trouble) is not bool(said[0]):
            _tell(f"{one.trouble}. The book is unchanged." if one.trouble else "It answers again.")
        said[0] = one.trouble

    return show


def _tell(text: str) -> None:
    # To the side, so that the output has the report alone.
    say(text, err=True)


def _page_writer(file: Path | None) -> Callable[[ShadowReport], None] | None:
    """Return the function that writes the HTML file; a file that cannot be written is refused now.

    Raises:
        SettingsError: there is no such folder.
        TrueupError: the extra of the page is not installed.
    """
    if file is None:
        return None
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise SettingsError("--report", str(file), "give a file in a folder that exists")
    try:
        from trueup.doors.shadow.page import page_of
    except ModuleNotFoundError as error:
        raise TrueupError(NOT_INSTALLED) from error
    return lambda made: _write(file, page_of(made, SystemClock().now_ns()))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        # The watch of a night must not be lost with its page: the report is printed as well.
        say(f"{file} could not be written: {error.strerror}.", err=True)
