"""What the log says of a terminal: how it was found, and each change of that, once."""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Error
from trueup.logs import Logger, logger

log: Logger = logger("trueup.worker")


class TerminalLog:
    """Watches the answers of a terminal that bots ask for anyway, and says what changed."""

    def __init__(self) -> None:
        self._is_foreign = False
        self._is_connected = True
        self._may_trade = True

    def introduce(self, pid: int, account: Any, program: Any) -> None:
        """Say what a person at three in the morning wants to know of a terminal just found."""
        if account is None or program is None:
            return
        log.info(
            "[TERMINAL] Initialised: account %d at %s, build %d, process %d",
            *(account.login, account.server, program.build, pid),
        )
        if not program.connected:
            log.warning("[TERMINAL] It has no link to its trade server")
        if not (program.trade_allowed and account.trade_allowed and account.trade_expert):
            log.warning(
                "[TERMINAL] Orders will be refused: Algo Trading (button) %s, account may trade "
                "%s, server allows programs %s",
                *map(_yes, (program.trade_allowed, account.trade_allowed, account.trade_expert)),
            )
        self._is_foreign = False
        self._is_connected, self._may_trade = program.connected, program.trade_allowed

    def note(self, function: str, value: Any, error: Error) -> None:
        """Look at an answer."""
        if function == "terminal_info" and value is not None:
            self._note_program(value)
        elif error[0] == mt5.RES_E_AUTH_FAILED and not self._is_foreign:
            self._is_foreign = True
            log.warning("[TERMINAL] %s: %s", function, error[1])
        elif function == "positions_get" and value is not None and self._is_foreign:
            self._is_foreign = False
            log.info("[TERMINAL] The account that this gateway serves is logged in again")

    def _note_program(self, program: Any) -> None:
        if program.connected != self._is_connected:
            self._is_connected = program.connected
            if program.connected:
                log.info("[TERMINAL] The link to the trade server is back")
            else:
                log.warning("[TERMINAL] It has no link to its trade server")
        if program.trade_allowed != self._may_trade:
            self._may_trade = program.trade_allowed
            if program.trade_allowed:
                log.info("[TERMINAL] Algo Trading is switched on again")
            else:
                log.warning("[TERMINAL] Orders will be refused: Algo Trading was switched off")


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"
