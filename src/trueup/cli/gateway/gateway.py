"""`trueup gateway`: serve the terminal of this machine to bots."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.gateway.crashes import end_without_a_dialog
from trueup.cli.gateway.install import install
from trueup.cli.terminal.terminal import WatchOption, start_terminal, stop_on_signals
from trueup.errors import SettingsError
from trueup.gateway.access.admission import Terms
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.gateway.record.account_files import data_folder
from trueup.gateway.server.service import LOOPBACK, Service, ServiceOptions
from trueup.gateway.terminal.clocks import Clocks
from trueup.gateway.terminal.mt5 import FACTORY, require_module
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.logs import Logger, logger
from trueup.observe.log import set_up_logging
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.process import TerminalOptions
from trueup.sim.process.whereabouts import ask, find_terminal, state_folder

log: Logger = logger("trueup.gateway")

SIMULATED = "trueup.sim.process.module_port:attached"
PASSWORD_VARIABLE = "TRUEUP_MT5_PASSWORD"
DEFAULT_PORT = 5555
# A bot's loop asks some ten times a second.
RATE_PER_SEC = 500.0

app: typer.Typer = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command("install")(install)


class Served(msgspec.Struct, frozen=True):
    """What is served: how its worker makes it, its name in the log, and its clock's pace."""

    factory: str
    name: str
    pace: float = 1.0


@app.callback()
def gateway(
    ctx: typer.Context,
    terminal_path: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="The terminal's terminal64.exe; else the one used last is found."
        ),
    ] = "",
    portable: Annotated[
        bool, typer.Option("--portable", help="The terminal runs in its portable mode.")
    ] = False,
    login: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The account to serve, and no other: while another is logged in, nothing is read "
            "or traded. By default whichever account is logged in.",
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
            help="Who may use it, a line for each client: NAME ROLES ACCOUNTS PUBLIC-KEY. Read "
            "again when it changes. By default ~/.trueup/keys/allow.",
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="No keys, no encryption: whoever reaches the port can trade. Every start warns.",
        ),
    ] = False,
    rate: Annotated[
        float,
        typer.Option(min=0.0, help="How often a second one client may ask; 0 for no limit."),
    ] = RATE_PER_SEC,
    deadline_ms: Annotated[
        int,
        typer.Option(
            min=100,
            help="A call of the terminal that takes longer is given up: the process that makes "
            "it is replaced, and an order in it is unknown until the terminal shows it.",
        ),
    ] = Timing().deadline_ms,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where it records each order before it is sent, so that none is sent twice. By "
            "default requests-LOGIN@SERVER.db in this user's folder for application data; with "
            "--simulated, in the state folder.",
        ),
    ] = None,
    watch_ms: WatchOption = WATCH_MS,
    hints_port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="Port for hints; 0 takes the one after --port."),
    ] = 0,
    log_file: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Write the log to a file instead.")
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option(
            "--simulated",
            help="Serve the simulated terminal of this folder, which is started if it does not "
            "run; for trying everything on any system.",
        ),
    ] = False,
) -> None:
    """Serve this machine's MetaTrader 5 terminal to bots.

    The terminal is called in a process of its own, which is replaced when it hangs or loses the
    terminal. It ends with Ctrl-C, after the call under way.
    """
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
    served = _simulated() if simulated else _real()
    set_up_logging(console=log_file is None, file=log_file)
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
            log.warning("[GATEWAY] No --login: whichever account is logged in is read and traded")
        _begin(terminal, account)
        try:
            service.run()
        finally:
            log.info("[GATEWAY] Ends; a call under way gets its time")
            service.close()
    log.info("[GATEWAY] Ended")


def _begin(terminal: WorkerTerminal, account: dict[str, Any]) -> None:
    """Initialise with what was given; what was not given is not an argument (MT5 reference)."""
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
    try:
        password = file.read_text(encoding="utf-8-sig").rstrip("\r\n")
        is_open = os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077
    except (OSError, UnicodeDecodeError) as error:
        because = (getattr(error, "strerror", None) or str(error)).lower()
        valid = f"give a file that holds the account's password alone ({because})"
        raise SettingsError("--password-file", str(file), valid) from error
    if is_open:
        valid = f"others on this machine can read it: run `chmod 600 {file}`"
        raise SettingsError("--password-file", str(file), valid)
    if not password or "\n" in password:
        valid = "give a file that holds the account's password alone, on one line"
        raise SettingsError("--password-file", str(file), valid)
    return password
