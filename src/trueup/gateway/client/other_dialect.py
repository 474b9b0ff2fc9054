"""Answer the two requests that only the other dialect has: account figures, and a close by ticket.

A close by ticket is a market order of the opposite side. Only the terminal knows the position's
side, so a position that cannot be read is not closed, and nothing is sent.
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.core.account.trust import sign_of_positions
from trueup.errors import TrueupError
from trueup.gateway.reading.rows import TRADE_MODES, account_of, listed_position, text_of
from trueup.gateway.reading.snapshots import CannotRead, Snapshots
from trueup.gateway.terminal.terminal import AccountInfo, Terminal
from trueup.protocol.dialect import AccountReply, HoldingsReply
from trueup.protocol.requests import ErrorReply, Request
from trueup.protocol.text import brief

NOT_CONNECTED = "the terminal has no link to its trade server"


class CannotClose(TrueupError):
    """The position to close does not exist or cannot be read; nothing was sent."""


def read_account(terminal: Terminal, snapshots: Snapshots) -> AccountReply | ErrorReply:
    """Return the account's figures, or why they cannot be read."""
    state = terminal.terminal_info()
    account = terminal.account_info()
    if state is None or account is None:
        return ErrorReply("FAILED", f"account_info failed: {terminal.last_error()}")
    snapshots.note(account, state)
    if not state.connected:
        return ErrorReply("FAILED", NOT_CONNECTED)
    return account_reply(account)


def read_holdings(snapshots: Snapshots) -> HoldingsReply | ErrorReply:
    """Return the account and all positions, or why they cannot be read."""
    # This reply has no evidence for the client to judge, so judge the reading here.
    try:
        reading = snapshots.read()
    except CannotRead as error:
        return ErrorReply("FAILED", str(error))
    snapshots.note(reading.account, reading.terminal)
    if not reading.terminal.connected:
        return ErrorReply("FAILED", NOT_CONNECTED)
    if not reading.is_whole:
        return ErrorReply("FAILED", "the account changed while it was read: ask again")
    if not reading.rows:
        account, has_orders = account_of(reading.account), bool(reading.order_rows)
        sign = sign_of_positions(account, has_orders=has_orders)
        if sign is not None:
            return ErrorReply("FAILED", f"the list is empty and the account has {sign}")
    return HoldingsReply(account_reply(reading.account), reading.positions)


def account_reply(row: AccountInfo) -> AccountReply:
    """Return the account; an unknown trade mode counts as real money."""
    return AccountReply(
        login=row.login,
        server=text_of(row.server),
        trade_mode=TRADE_MODES.get(row.trade_mode, "real"),
        currency=text_of(row.currency),
        leverage=row.leverage,
        balance=row.balance,
        equity=row.equity,
        margin=row.margin,
        free_margin=row.margin_free,
        margin_level=row.margin_level,
    )


def closing_order(request: Request, terminal: Terminal) -> Request:
    """Return a CLOSE as the equivalent market order; without `volume` it closes the whole position.

    Raises:
        CannotClose: the reason; nothing was sent.
    """
    ticket = request.position
    rows = terminal.positions_get(ticket=ticket)
    if rows is None:
        raise CannotClose(f"not sent: positions_get failed: {terminal.last_error()}")
    if not rows:
        raise CannotClose(f"not sent: ticket {ticket} is no open position")
    position = rows[0]
    # A ticket in another symbol than requested is most likely a mistake of the caller.
    if request.symbol not in ("", "*", position.symbol):
        raise CannotClose(
            f"not sent: ticket {ticket} is in {position.symbol}, not in {request.symbol}"
        )
    listed = listed_position(position)
    if isinstance(listed, dict):
        raise CannotClose(f"not sent: ticket {ticket} cannot be read: {brief(listed)}")
    return replace(
        request,
        action=listed.side.opposite.action,
        symbol=listed.symbol,
        volume=request.volume or listed.volume,
    )
