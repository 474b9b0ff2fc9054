"""Log the state of a terminal: once when it is attached, and then each change once."""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Error
from trueup.logs import Logger, logger

log: Logger = logger("trueup.worker")


class TerminalLog:
    """Watches the terminal's answers to other requests, and logs changes of state."""

    def __init__(self) -> None:
        self._is_foreign = False
        self._is_connected = True
        self._may_trade = True

    def introduce(self, pid: int, account: Any, program: Any) -> None:
        """Log the account and the obstacles to trading of a terminal that was just attached."""
        if account is None or program is None:
            return
        log.info(
            "[TERMINAL] Initialised: account %d at %s, build %d, process %d",
            *(account.login, account.server, program.build, pid),
        )
        if not program.connected:
            log.warning("[TERMINAL] The terminal has no link to its trade server")
        # All three switches can block orders; naming each saves a search at the terminal.
        if not (program.trade_allowed and account.trade_allowed and account.trade_expert):
            log.warning(
                "[TERMINAL] Orders will be refused: Algo Trading (button) %s, account may trade "
                "%s, server allows programs %s",
                *map(_yes, (program.trade_allowed, account.trade_allowed, account.trade_expert)),
            )
        self._is_foreign = False
        self._is_connected, self._may_trade = program.connected, program.trade_allowed

    def note(self, function: str, value: Any, error: Error) -> None:
        """Check an answer for a change of state."""
        # Error -6 means that another account is logged in; a later list that works means that the
        # right account is back.
        if function == "terminal_info" and value is not None:
            self._note_program(value)
        elif error[0] == mt5.RES_E_AUTH_FAILED and not self._is_foreign:
            self._is_foreign = True
            log.warning("[TERMINAL] %s: %s", function, error[1])
        elif function == "positions_get" and value is not None and self._is_foreign:
            self._is_foreign = False
            log.info("[TERMINAL] The account that this gateway serves is logged in again")

    def _note_program(self, program: Any) -> None:
        # Log transitions only, because the state is read several times a second.
        if program.connected != self._is_connected:
            self._is_connected = program.connected
            if program.connected:
                log.info("[TERMINAL] The link to the trade server is back")
            else:
                log.warning("[TERMINAL] The terminal has no link to its trade server")
        if program.trade_allowed != self._may_trade:
            self._may_trade = program.trade_allowed
            if program.trade_allowed:
                log.info("[TERMINAL] Algo Trading is switched on again")
            else:
                log.warning("[TERMINAL] Orders will be refused: Algo Trading was switched off")


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"
