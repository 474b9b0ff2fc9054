"""`trueup gateway`: serve this machine's terminal to bots."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.gateway.crashes import end_without_a_dialog
from trueup.cli.gateway.install import install
from trueup.cli.shared.ending import stop_on_signals
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.terminal.terminal import WatchOption
from trueup.errors import SettingsError
from trueup.gateway.access.admission import Terms
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.gateway.record.account_files import data_folder
from trueup.gateway.server.service import LOOPBACK, Service, ServiceOptions
from trueup.gateway.server.sockets import READ_SEC
from trueup.gateway.terminal.clocks import Clocks
from trueup.gateway.terminal.mt5 import FACTORY, require_module
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.logs import Logger, logger
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.process import TerminalOptions
from trueup.sim.process.starting import start_terminal
from trueup.sim.process.whereabouts import ask, find_terminal, state_folder

log: Logger = logger("trueup.gateway")

SIMULATED = "trueup.sim.process.module_port:attached"
PASSWORD_VARIABLE = "TRUEUP_MT5_PASSWORD"
DEFAULT_PORT = 5555
# A bot's loop sends about ten requests a second, so this is no limit for honest bots.
RATE_PER_SEC = 500.0

app: typer.Typer = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command("install")(install)


class Served(msgspec.Struct, frozen=True):
    """The served terminal: the worker's factory, its name in the log, and its clock's pace."""

    factory: str
    name: str
    pace: float = 1.0


@app.callback()
def gateway(
    ctx: typer.Context,
    # Which terminal and account: the arguments of the official module's `initialize`.
    terminal_path: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="The terminal's terminal64.exe; by default the last terminal used."
        ),
    ] = "",
    portable: Annotated[
        bool, typer.Option("--portable", help="The terminal runs in its portable mode.")
    ] = False,
    login: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The only account to serve: while another account is logged in, nothing is read "
            "or traded. By default any account that is logged in.",
        ),
    ] = None,
    server: Annotated[
        str, typer.Option(help="The account's trade server, such as MetaQuotes-Demo.")
    ] = "",
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"A file with the account's password; else the variable {PASSWORD_VARIABLE}, "
            "else the password that the terminal has saved.",
        ),
    ] = None,
    # Which clients can reach the gateway, and which of them are answered.
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address of this machine to listen on.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port for bots; 0 takes a free one.")
    ] = DEFAULT_PORT,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The gateway's own secret key file. Off this machine everything is encrypted, by "
            "default with ~/.trueup/keys/gateway.key_secret.",
        ),
    ] = None,
    allow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The clients with access, a line for each: NAME ROLES ACCOUNTS PUBLIC-KEY. A "
            "change takes effect without a restart. By default ~/.trueup/keys/allow.",
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="No keys, no encryption: any client that reaches the port can trade. Every start "
            "warns.",
        ),
    ] = False,
    rate: Annotated[
        float,
        typer.Option(min=0.0, help="The most requests a second of a client; 0 for no limit."),
    ] = RATE_PER_SEC,
    # Orders: how long a call may take, and where orders are recorded.
    deadline_ms: Annotated[
        int,
        typer.Option(
            min=100,
            help="The longest time for a call of the terminal. After that the calling process is "
            "replaced, and an order under way is unknown until the terminal shows the order.",
        ),
    ] = Timing().deadline_ms,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file that records each order before the order is sent, so that no order is "
            "sent twice. By default requests-LOGIN@SERVER.db in this user's folder for application "
            "data; with --simulated, in the state folder.",
        ),
    ] = None,
    # Hints tell bots about changes before their next poll.
    watch_ms: WatchOption = WATCH_MS,
    hints_port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="Port for hints; 0 takes the port after --port."),
    ] = 0,
    log_file: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Write the log to a file instead.")
    ] = None,
    log_json: LogJsonOption = False,
    simulated: Annotated[
        bool,
        typer.Option(
            "--simulated",
            help="Serve the simulated terminal of this folder, which is started if needed; for "
            "tests on any system.",
        ),
    ] = False,
) -> None:
    """Serve this machine's MetaTrader 5 terminal to bots.

    The terminal is called in a process of its own, which is replaced when the process hangs or
    loses the terminal. Ctrl-C ends the gateway, after the call under way.
    """
    # `trueup gateway install` comes through here too, and serves nothing.
    if ctx.invoked_subcommand is not None:
        return
    if server and login is None:
        raise SettingsError("--server", server, "give --login with it")
    account = {
        "path": terminal_path,
        "portable": portable,
        "login": login,
        "server": server,
        "password": _password(password_file, login),
    }
    end_without_a_dialog()
    # Before the log: a missing module is an error of the command line, not of the service.
    served = _simulated() if simulated else _real()
    set_up_log(console=log_file is None, file=log_file, as_json=log_json)
    timing = Timing(deadline_ms=deadline_ms)
    terms = Terms(key_file=key, allow_file=allow, is_plain=plain, rate_per_sec=rate)
    options = ServiceOptions(
        host=host,
        port=port,
        pace=served.pace,
        terms=terms,
        watch_ms=watch_ms,
        hints_port=hints_port,
        records=state_folder() if simulated else data_folder(),
        store=store,
        login=login,
    )
    with WorkerTerminal(served.factory, timing=timing) as terminal:
        clock = SystemClock()
        service = Service(
            terminal,
            options,
            clock.now_ns,
            lambda: terminal.attachments,
            clocks=Clocks(clock.now_ns, clock.age_ns, clock.waiting_ns),
        )
        stop_on_signals(service.stop)
        log.info("[GATEWAY] Serving %s at %s", served.name, service.endpoint)
        if login is None:
            log.warning("[GATEWAY] No --login: any account that is logged in is read and traded")
        _begin(terminal, account)
        # The record and the account's lock are released however the service ends.
        try:
            service.run()
        finally:
            log.info("[GATEWAY] Ending after the call under way")
            service.close(READ_SEC)
    log.info("[GATEWAY] Ended")


def _begin(terminal: WorkerTerminal, account: dict[str, Any]) -> None:
    """Initialise the terminal; an option that is not set must not be passed (MT5 reference)."""
    given = {name: value for name, value in account.items() if value}
    path = [given.pop("path")] if "path" in given else []
    terminal.keep_initialized(*path, **given)


def _real() -> Served:
    require_module()
    return Served(FACTORY, "the terminal of this machine")


def _simulated() -> Served:
    running = find_terminal() or start_terminal(TerminalOptions())
    pace = float(ask(running, {"command": "hello"})["speed"])
    return Served(SIMULATED, "the simulated terminal of this folder", pace)


def _password(file: Path | None, login: int | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE) if login else None
    if login is None:
        raise SettingsError("--password-file", str(file), "give --login with it")
    # No message shows the file's content: the log may be read by others.
    try:
        password = file.read_text(encoding="utf-8-sig").rstrip("\r\n")
        is_open = os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077
    except (OSError, UnicodeDecodeError) as error:
        because = (getattr(error, "strerror", None) or str(error)).lower()
        valid = f"give a file that holds the account's password alone ({because})"
        raise SettingsError("--password-file", str(file), valid) from error
    # Refused, not warned: a password that others can read must be changed anyway.
    if is_open:
        valid = f"others on this machine can read it: run `chmod 600 {file}`"
        raise SettingsError("--password-file", str(file), valid)
    if not password or "\n" in password:
        valid = "give a file that holds the account's password alone, on one line"
        raise SettingsError("--password-file", str(file), valid)
    return password
