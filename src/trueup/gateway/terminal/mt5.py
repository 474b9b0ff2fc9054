"""Use the official MetaTrader5 module as a `Terminal`; the only place that imports the module.

The module runs in a worker process (`gateway.worker.worker`): it serves a single terminal per
process, blocks without a timeout, and holds the interpreter lock meanwhile. The module exists for
Windows only, so the import happens on demand; on Linux Wine with a Windows Python is needed.
"""

from __future__ import annotations

import importlib.util
import platform
from typing import Any

from trueup.errors import TrueupError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.one_account import OneAccount
from trueup.gateway.terminal.terminal import Terminal

FACTORY = f"{__name__}:official_terminal"
"""The factory that `WorkerTerminal` calls in its worker."""

# `initialize` fails with these codes if it found the program but no account is logged in.
_NOT_LOGGED_IN = frozenset({mt5.RES_E_AUTH_FAILED, mt5.RES_E_INTERNAL_FAIL_TIMEOUT})


class ModuleMissing(TrueupError):
    """The MetaTrader5 module cannot be used here."""


def require_module() -> None:
    """Check that the module can be imported here, without importing it.

    Raises:
        ModuleMissing: the module cannot be used; the message says how to fix that.
    """
    system = platform.system()
    # Check the platform first: on Linux `pip install MetaTrader5` would be the wrong advice.
    if system != "Windows":
        raise ModuleMissing(
            f"The MetaTrader5 module exists for Windows only, and this is {system}: run "
            "`trueup gateway` on the Windows machine of the terminal (or with a Windows Python "
            "under Wine), or try `trueup gateway --simulated` here."
        )
    if importlib.util.find_spec("MetaTrader5") is None:
        raise ModuleMissing(
            "The MetaTrader5 module is not installed in this Python: `pip install MetaTrader5`."
        )


def official_terminal() -> Terminal:
    """Import the module and return it as a terminal of one account; for `WorkerTerminal`.

    Raises:
        ModuleMissing: the module is not installed, or does not load.
    """
    require_module()
    try:
        import MetaTrader5 as module
    except ImportError as error:
        raise ModuleMissing(
            f"The MetaTrader5 module does not load ({error}): install it again with "
            "`pip install --force-reinstall MetaTrader5`."
        ) from error
    return OneAccount(OfficialTerminal(module))


class OfficialTerminal(ForwardingTerminal):
    """The module's functions, with a more careful `initialize`.

    Args:
        module: MetaTrader5, or a replacement.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._error: tuple[int, str] | None = None

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        self._error = None
        called = getattr(self._module, function)
        # The module treats an empty dict of keywords as keywords, and then refuses the request
        # ("Unnamed arguments not allowed", seen with 5.0.6231).
        return called(*args, **kwargs) if kwargs else called(*args)

    def last_error(self) -> tuple[int, str]:
        """Code and text of the latest call."""
        code, text = self._error or self._module.last_error()
        return code, text

    def initialize(
        self,
        *args: Any,
        login: int | None = None,
        password: str | None = None,
        server: str | None = None,
        **kwargs: Any,
    ) -> bool:
        """Attach to the terminal; log in if no account or another account is logged in.

        Passing credentials to the module's `initialize` was seen to time out where attaching
        without them works (field reports). Logging in again would drop a working link to the trade
        server. If the login is refused the connection is closed, so that another account is never
        served by mistake.
        """
        given = {"login": login, "password": password, "server": server}
        credentials = {name: value for name, value in given.items() if value is not None}
        # Without a login any account is right, so there is nothing to compare.
        if login is None:
            return bool(self._call("initialize", *args, **credentials, **kwargs))
        if not self._call("initialize", *args, **kwargs):
            if self.last_error()[0] not in _NOT_LOGGED_IN:
                return False
            # The program runs without an account: only now are credentials needed to attach.
            return bool(self._call("initialize", *args, **credentials, **kwargs))
        if self._is_logged_in(login, server):
            return True
        # `login` takes the timeout too, but no other option of `initialize`.
        timeout = {"timeout": kwargs["timeout"]} if "timeout" in kwargs else {}
        return self._log_in(login, {**credentials, **timeout})

    def _is_logged_in(self, login: int, server: str | None) -> bool:
        account = self._call("account_info")
        return account is not None and account.login == login and server in (None, account.server)

    def _log_in(self, login: int, options: dict[str, Any]) -> bool:
        options.pop("login", None)
        if self._call("login", login, **options):
            return True
        error = self.last_error()
        self._call("shutdown")
        self._error = error
        return False
