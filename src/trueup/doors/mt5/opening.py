"""Open what stands behind the door: a gateway elsewhere, or a terminal of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from trueup.doors.local_gateway import LocalGateway
from trueup.doors.mt5.readings import Waits
from trueup.errors import BrokerUnknown
from trueup.gateway.client.endpoints import endpoint_of
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal.mt5 import FACTORY, ModuleMissing, require_module
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.runtime.bot.order_checks import check_magic
from trueup.runtime.control.state_files import state_folder
from trueup.settings import Settings, load_settings
from trueup.sim.process.process import TerminalOptions
from trueup.sim.process.starting import start_terminal
from trueup.sim.process.whereabouts import find_terminal

SIMULATED_FACTORY = "trueup.sim.process.module_port:attached"


class Options(msgspec.Struct, frozen=True):
    """What `initialize` takes beside the official arguments.

    Attributes:
        journal: a SQLite file or a postgresql:// URL; by default TRUEUP_JOURNAL, or `mt5.db` in
            the state folder.
        gateway: tcp://HOST:PORT of a gateway; by default TRUEUP_GATEWAY. Empty for the terminal of
            this machine.
        magic: the magic number of this program; by default TRUEUP_MAGIC. Without one, the first
            order that opens a position tells it.
        simulated: use the simulated terminal of this folder, and start it if none runs; by default
            TRUEUP_SIMULATED.
        read_ms: how long a reading may take to be proven.
        resolve_ms: how long an order in doubt may take to be resolved.
        on_doubt: "none" to return None for what is not proven, or "raise".
    """

    journal: str | Path = ""
    gateway: str = ""
    magic: int | None = None
    simulated: bool = False
    read_ms: int = Waits().read_ms
    resolve_ms: int = Waits().resolve_ms
    on_doubt: str = "none"

    @property
    def waits(self) -> Waits:
        """How long calls wait."""
        return Waits(self.read_ms, self.resolve_ms)


OPTIONS: frozenset[str] = frozenset(Options.__struct_fields__)


def options_of(given: Mapping[str, Any]) -> Options:
    """Return the options; a missing option comes from the settings.

    Raises:
        ValueError: an option is not valid.
        SettingsError: a setting is not valid.
    """
    settings = load_settings()
    options = msgspec.structs.replace(_from(settings), **given)
    if not isinstance(options.journal, str | Path):
        raise ValueError(f"journal={options.journal!r:.40} is not valid: give a file or a URL.")
    if not isinstance(options.gateway, str):
        raise ValueError(f"gateway={options.gateway!r:.40} is not valid: give tcp://HOST:PORT.")
    for name in ("read_ms", "resolve_ms"):
        value = getattr(options, name)
        if type(value) is not int or value < 0:
            raise ValueError(f"{name}={value!r:.40} is not valid: give milliseconds, 0 or above.")
    if options.on_doubt not in ("none", "raise"):
        raise ValueError(f"on_doubt={options.on_doubt!r:.40} is not valid: give 'none' or 'raise'.")
    if options.magic is not None:
        check_magic(options.magic)
    if options.simulated and options.gateway:
        raise ValueError("simulated=True and gateway= are both given: give one of them.")
    return options


def _from(settings: Settings) -> Options:
    return Options(
        journal=settings.trueup_journal,
        gateway=settings.trueup_gateway,
        magic=settings.trueup_magic,
        simulated=settings.trueup_simulated,
    )


class Behind(Protocol):
    """What stands behind the door.

    Attributes:
        lists: the terminal for lists and single values.
        prices: the terminal for prices of the past.
    """

    lists: Terminal
    prices: Terminal

    def gateway(self) -> ExecutionGateway:
        """Return the gateway for orders and snapshots of a new book."""

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in to another account; False if that is refused."""

    def close(self) -> None:
        """Close the connections and end the worker."""


class Remote:
    """A gateway on the machine of the terminal.

    Raises:
        SettingsError: the endpoint is not valid.
    """

    def __init__(self, options: Options) -> None:
        endpoint = endpoint_of(options.gateway, "gateway")
        self._gateway = ExecutionGateway(endpoint.host, endpoint.port)
        # Prices of the past have a connection of their own: no list waits behind a download.
        self.lists: Terminal = self._gateway.terminal()
        self.prices: Terminal = self._gateway.terminal()

    def gateway(self) -> ExecutionGateway:
        """Return the gateway."""
        return self._gateway

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the gateway's terminal is logged in to that account already."""
        named = {**dict(zip(("login", "password", "server"), args, strict=False)), **kwargs}
        account = self.lists.account_info()
        if account is None or account.login != named.get("login"):
            return False
        return not named.get("server") or account.server == named["server"]

    def close(self) -> None:
        """Close the connections."""
        self._gateway.disconnect()
        self.lists.shutdown()
        self.prices.shutdown()


class Local:
    """A terminal of this machine: the official module, or the simulated terminal, in a worker.

    Args:
        options: the options of the door.
        args: the positional arguments of `initialize`.
        named: the official named arguments of `initialize`.

    Raises:
        ModuleMissing: the official module is not installed here.
        NotInitialised: the terminal cannot be initialised; the message has its last error.
    """

    def __init__(self, options: Options, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        if options.simulated:
            if find_terminal() is None:
                start_terminal(TerminalOptions())
        else:
            _require_module()
        # Each folder has a simulated account of its own, all with one name.
        self._claims = state_folder() / "claims" if options.simulated else None
        self._worker = WorkerTerminal(SIMULATED_FACTORY if options.simulated else FACTORY)
        self.lists: Terminal = self._worker
        self.prices: Terminal = self._worker
        self._local: LocalGateway | None = None
        if not self._worker.initialize(*args, **named):
            error = self._worker.last_error()
            self._worker.close()
            raise NotInitialised(error)

    def gateway(self) -> ExecutionGateway:
        """Return a gateway in this process."""
        if self._local is not None:
            self._local.disconnect()
        self._local = LocalGateway(
            self._worker, claims=self._claims, attachments=lambda: self._worker.attachments
        )
        return self._local

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log the terminal in to another account."""
        return self._worker.login(*args, **kwargs)

    def close(self) -> None:
        """Close the connections and end the worker."""
        if self._local is not None:
            self._local.disconnect()
        self._worker.close()


class NotInitialised(BrokerUnknown):
    """The terminal could not be initialised; `error` is its last error."""

    def __init__(self, error: tuple[int, str]) -> None:
        super().__init__(f"initialize failed: {error}")
        self.error = error


def _require_module() -> None:
    try:
        require_module()
    except ModuleMissing as error:
        raise ModuleMissing(
            f"{error} Here initialize() takes gateway='tcp://HOST:PORT' (or TRUEUP_GATEWAY), or "
            "simulated=True (or TRUEUP_SIMULATED=1)."
        ) from None


def open_behind(options: Options, args: tuple[Any, ...], named: Mapping[str, Any]) -> Behind:
    """Open what the options name; see `Remote` and `Local` for the errors."""
    if options.gateway:
        return Remote(options)
    return Local(options, args, named)


Opener = Callable[[Options, tuple[Any, ...], Mapping[str, Any]], Behind]
"""Opens what the options, and the official arguments of `initialize`, name."""
