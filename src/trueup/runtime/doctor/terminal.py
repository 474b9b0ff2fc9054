"""Judge the terminal behind a gateway, and its account: connected, may trade, the right one."""

from __future__ import annotations

from trueup.core.account.trust import Bound
from trueup.core.model import Account, Evidence, TerminalState
from trueup.core.quantity import format_money
from trueup.core.trade_modes import describe_mode
from trueup.observe.doctor_text import DoctorRow, not_asked, ok, sick, warn
from trueup.runtime.doctor.line import BLIND

ALL_REFUSED = "every order is refused, also one that closes; stops at the broker work"
OTHER_ACCOUNT = "the bot neither opens nor closes; nobody manages the positions of its account"


def connected_row(terminal: TerminalState) -> DoctorRow:
    """Judge the terminal's link to its trade server."""
    if not terminal.connected:
        return sick(
            "terminal connected",
            "the terminal has no link to its trade server",
            BLIND,
            "wait: the terminal connects again by itself. If it does not, see to the network of "
            "its machine, to the terminal's journal (server, login), and to the broker's notices",
        )
    ping = f", ping {terminal.ping_us / 1000:.0f} ms" if terminal.ping_us else ""
    return ok("terminal connected", f"to its trade server{ping}, build {terminal.build}")


def trade_row(terminal: TerminalState, account: Account, role: str) -> DoctorRow:
    """Return whether orders are taken: by the terminal, for its login, from our key."""
    if not terminal.trade_allowed:
        return sick(
            "trade allowed",
            "algorithmic trading is off in the terminal: every order is refused (10027)",
            ALL_REFUSED,
            "press Algo Trading in the terminal's toolbar (Ctrl+E)",
        )
    # A terminal without link tells nothing about its login.
    if not terminal.connected:
        return not_asked("trade allowed", "not known without the link to the trade server")
    if not account.trade_allowed:
        return sick(
            "trade allowed",
            f"this login to {account.name} may not trade: its password is the read-only one "
            "(investor), or the broker has closed the account for trading",
            ALL_REFUSED,
            "log the terminal in with the trading password; if it is so already, ask the broker",
        )
    if role == "read":
        return warn(
            "trade allowed",
            "this key may read only: the gateway refuses its orders",
            "a bot with this key can neither open nor close",
            "to let this key trade, write `trade` instead of `read` in its line of the gateway's "
            "allow file",
        )
    key = ", and by the gateway for this key" if role else "; the role of this key is not told"
    return ok("trade allowed", f"in the terminal and on the account{key}")


def account_row(evidence: Evidence, bound: Bound | None, intended: Bound | None) -> DoctorRow:
    """Compare the account with that of the book, and with that of the setting TRUEUP_ACCOUNT."""
    account, offset_sec = evidence.account, evidence.time_offset_sec
    clock = "" if offset_sec is None else f", its clock is UTC{_offset(offset_sec)}"
    balance = format_money(account.balance, account.currency_digits)
    money = f"balance {balance} {account.currency}{clock}"
    figures = {
        "login": account.login,
        "server": account.server,
        "trade_mode": account.trade_mode,
        "offset_sec": offset_sec,
    }
    name = f"{account.name} ({describe_mode(account.trade_mode)})"
    # The setting first: a bot with this setting refuses any other account.
    if intended is not None and intended != Bound(account.login, account.server):
        return sick(
            "account",
            f"the terminal is logged in to {name}, and TRUEUP_ACCOUNT says {intended.name}",
            OTHER_ACCOUNT,
            f"log the terminal in to {intended.name}, or correct TRUEUP_ACCOUNT",
            **figures,
        )
    if bound is None:
        return ok("account", f"{name}, {money}; no book is bound yet", **figures)
    if (account.login, account.server) != (bound.login, bound.server):
        return sick(
            "account",
            f"the terminal is logged in to {account.name}, and the book is bound to {bound.name}",
            OTHER_ACCOUNT,
            f"log the terminal in to {bound.name}; or, to bind the book to the other "
            "account from now on, `trueup rebind`",
            **figures,
        )
    return ok("account", f"{name}, as the book is bound; {money}", **figures)


def _offset(offset_sec: int) -> str:
    sign = "-" if offset_sec < 0 else "+"
    hours, rest = divmod(abs(offset_sec), 3600)
    return f"{sign}{hours:02d}:{rest // 60:02d}"
