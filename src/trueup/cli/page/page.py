"""`trueup page`: serve a page that shows the state of the bots, and takes a person's decisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared.ending import end_on_request
from trueup.cli.shared.journal_place import JournalOption, LastStreamOption, default_journal
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError, TrueupError
from trueup.runtime.control.state_files import state_folder

if TYPE_CHECKING:
    from trueup.doors.page.people import People

TOKENS = "page.tokens"
LARGEST_PORT = 65_535
NOT_INSTALLED = "The page needs its extra: pip install 'trueup[page]'."


def page(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    # Texts, since typer converts others with pydantic: a third of the start, and 7 MB.
    port: Annotated[
        str, typer.Option(metavar="PORT", help="The port; 0 takes a free one.")
    ] = "8787",
    token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=f"Who may open the page; by default {TOKENS} in the state folder.",
        ),
    ] = None,
    tls_cert: Annotated[
        str, typer.Option(metavar="FILE", help="The certificate for HTTPS, as a PEM file.")
    ] = "",
    tls_key: Annotated[
        str, typer.Option(metavar="FILE", help="The key of the certificate, as a PEM file.")
    ] = "",
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy in front speaks HTTPS.")
    ] = False,
    journal: JournalOption = None,
    stream: LastStreamOption = None,
) -> None:
    """Show the state of the bots in a browser.

    The page shows the same sentences as `trueup status`, live, and works when the bot does not. An
    approver of the token file also decides: approve, pause, close. Only this machine can open the
    page, unless you give another --host with HTTPS. The command runs until Ctrl-C.
    """
    if bool(tls_cert) is not bool(tls_key):
        raise WrongUsage("Give --tls-cert and --tls-key together.")
    port_number = _port(port)
    try:
        from trueup.doors.page.serve import Door, serve
        from trueup.doors.watch import Place
    except ModuleNotFoundError as error:
        raise TrueupError(NOT_INSTALLED) from error
    people = _people(None if token_file is None else Path(token_file))
    place = Place(journal or default_journal(), stream, is_given=journal is not None)
    end_on_request()
    door = Door(host, port_number, tls_cert, tls_key, behind_proxy)

    def opened(address: str) -> None:
        say(f"The page is at {address}/ until Ctrl-C.")
        # A file of one's own names its persons, and its tokens are not for a terminal's history.
        if token_file is None:
            say(f"Sign in: {address}/sign-in?token={people.first.token}")

    serve(door, people, place, opened)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= LARGEST_PORT):
        raise SettingsError("--port", text, f"give a whole number from 0 to {LARGEST_PORT}")
    return int(text)


def _people(token_file: Path | None) -> People:
    from trueup.doors.page.people import make_people, read_people

    path = token_file or state_folder() / TOKENS
    if token_file is None and not path.exists():
        from trueup.cli.operate.bot import user_name

        make_people(path, user_name())
    return read_people(path)
