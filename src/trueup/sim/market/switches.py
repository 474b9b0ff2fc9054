"""Switches for behaviour of terminals and brokers that the official documents leave open.

Open questions are, for example: the answers of a disconnected terminal, the lag of lists, whether a
broker edits comments. The product must be correct for every answer, so each question is a switch of
the simulated terminal. The defaults are the likely behaviour. A switch can be changed at any time;
the change takes effect with the next event or call.

Times are milliseconds of the injected clock.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ListAnswer(enum.Enum):
    """The answer of a list call (and its ``*_total``) while the terminal lacks current data."""

    CACHED = "the last known rows"
    EMPTY = "an empty tuple, and success"
    PARTIAL = "the first half of the rows, and success"
    NONE = "None, and (-1, 'Terminal: Call failed')"
    CURRENT = "the true rows"


class DownSend(enum.Enum):
    """The result of `order_send` while the terminal has no link to its trade server."""

    REFUSED = "10031 at once, nothing executed"
    EXECUTED_LATER = "10031 at once, executed all the same when the link is back"
    TIMED_OUT = "10012, nothing executed"
    BLOCKS = "the call hangs; see TerminalFaults.on_hang"


class FiguresFrom(enum.Enum):
    """The source of profit, equity and margin in `account_info` while the list lags."""

    LIST = "computed from the positions that the terminal shows"
    SERVER = "the server's own figures, which may contradict the list"


class DealTicketMeans(enum.Enum):
    """The meaning of the number in `history_deals_get(ticket=)`."""

    DEAL = "the deal's own ticket, as public code has it"
    ORDER = "the ticket of the order behind the deal, as the documentation has it"


class OnReversal(enum.Enum):
    """The value of a field of a netting position after a deal has reversed the position."""

    RESET = "the value of the reversing deal"
    KEPT = "the value before the reversal"


class OptionOff(enum.Enum):
    """The answer of `order_send` while automated trading by Python programs is off."""

    NONE_MINUS_8 = "None, and (-8, 'Auto-Trading using Python API disabled in Terminal')"
    RETCODE_10027 = "a result with 10027"


class DealOrder(enum.Enum):
    """The order of the deals in a history answer."""

    BY_TICKET = "oldest first"
    REVERSED = "newest first"
    SHUFFLED = "any order, drawn from the injected random numbers"


@dataclass(slots=True, kw_only=True)
class Switches:
    """The switches of a terminal and its broker."""

    # -- clock ---------------------------------------------------------------------------------
    server_offset_minutes: int = 120
    """Server wall clock minus UTC, minutes; most brokers keep UTC+2 in winter and UTC+3 in
    summer. 0 would be a server that keeps UTC, as the documents have it."""
    dst_jumps: tuple[tuple[int, int], ...] = ()
    """(true UTC milliseconds, offset in minutes from then on), ascending; the DST rule."""

    # -- delays and form of the lists ----------------------------------------------------------
    position_lag_ms: int = 0
    """From a change on the server to `positions_get` and `positions_total`."""
    order_lag_ms: int = 0
    """From a change on the server to `orders_get` and `orders_total`."""
    order_history_lag_ms: int = 0
    """From the end of an order to `history_orders_get`."""
    deal_lag_ms: int = 0
    """From a deal to `history_deals_get`; tens of milliseconds as a rule, seconds at times."""
    account_lag_ms: int = 0
    """From a change of balance or credit to `account_info`."""
    account_figures: FiguresFrom = FiguresFrom.LIST
    deal_order: DealOrder = DealOrder.BY_TICKET
    history_begins_msc: int = 0
    """Deals and orders from before this server time are archived: no history call shows them."""
    deal_ticket_means: DealTicketMeans = DealTicketMeans.DEAL
    zero_date_reads_as: int = 2**31 - 1
    """A date of exactly 0 leaves the module's field uninitialised; this number stands for the
    random value of the field, server seconds."""
    volume_dust: bool = True
    """Volumes are steps times step size, so 0.35 lots may read 0.35000000000000003. Off: the
    nearest float to the decimal number."""

    # -- no link to the trade server -----------------------------------------------------------
    disconnected_list: ListAnswer = ListAnswer.CACHED
    connected_flag_lag_ms: int = 0
    """How long `terminal_info().connected` stays True after the link has dropped."""
    disconnected_send: DownSend = DownSend.REFUSED
    resync_ms: int = 0
    """From the return of the link until the terminal has caught up; until then the terminal shows
    the old lists, with `connected` True."""

    # -- after a restart or a change of account ------------------------------------------------
    synchronise_ms: int = 2_000
    """From authorisation until the terminal has synchronised with the server."""
    unsynchronised_list: ListAnswer = ListAnswer.EMPTY
    unsynchronised_account_known: bool = True
    """Balance and credit are shown before synchronisation; otherwise they read 0.0."""
    initialize_waits_for_synchronisation: bool = False
    """`initialize()` fails with -10005 until the terminal has synchronised."""

    # -- permissions ---------------------------------------------------------------------------
    python_option_off: OptionOff = OptionOff.NONE_MINUS_8
    investor_list: ListAnswer = ListAnswer.CURRENT
    """The answer for an investor (read-only) login, and for an account without trading rights."""

    # -- the broker ----------------------------------------------------------------------------
    comment_characters_max: int = 31
    """The server cuts longer comments; the platform's field holds 31 units of UTF-16, so a cut can
    leave half of a character."""
    comment_replaced_by: str | None = None
    """The server replaces every comment of a request by this text; None keeps the comment."""
    comment_prefix: str = ""
    """The server puts this before every comment of a request."""
    stop_comment: str = "[{kind} {level}]"
    """Comment of an order made by a stop loss or take profit; empty for no comment."""
    stop_out_comment: str = "[so {level:.2f}%/{equity:.2f}/{margin:.2f}]"
    """Comment of an order made by a stop out; the exact text differs by server."""
    stop_close_keeps_magic: bool = True
    """Deals of SL, TP and stop out carry the position's magic; otherwise 0."""
    stop_fills_at_level: bool = False
    """SL and TP fill at their level exactly; otherwise at the market, with its slippage."""
    stop_order_listed_ms: int = 0
    """Time that the order of a stop loss or take profit is listed as working before the execution
    at the price of that moment; 0 to 3 s were seen."""
    filled_orders_listed_ms: int = 0
    """Time that a filled market order is still listed as working, with `volume_current` 0.0; seen
    at an exchange."""
    exchange_answers_placed: bool = True
    """A market order for a symbol of exchange execution is answered 10008 for any result."""
    positions_show_client: bool = False
    """Every position shows no magic and the reason CLIENT, as seen at an exchange; deals and orders
    show the values of the request."""
    stops_refused_at_open: bool = False
    """Market and exchange execution refuse SL and TP in the opening request (10016)."""
    requests_per_second_max: int = 0
    """More requests than this within a second are answered 10024; 0 means no limit."""
    first_request_id: int = 1
    """`request_id` of the first answer of a terminal session."""
    random_request_ids: bool = False
    """Each `request_id` is a random number of 32 bits; otherwise the numbers count up."""
    answers_with_request_comment: bool = False
    """An answer to an accepted order has the request's comment; otherwise a server text."""

    # -- netting -------------------------------------------------------------------------------
    reversal_time: OnReversal = OnReversal.RESET
    reversal_price_open: OnReversal = OnReversal.RESET
    """KEPT shows the open price of the side before, and computes profit from that price."""
    reversal_magic: OnReversal = OnReversal.RESET
    reversal_comment: OnReversal = OnReversal.RESET
    addition_changes_magic: bool = False
    """A netting position takes the magic of the newest deal that adds to it."""
    stale_ticket_refused: bool = True
    """On a netting account a `position` ticket other than the current ticket is answered 10036;
    otherwise the symbol alone decides, and a late close opens the opposite side."""

    # -- day change ----------------------------------------------------------------------------
    automatic_day_change: bool = True
    """Swaps, re-openings and DAY orders are handled when the server's date changes."""
    reopening_changes_ticket: bool = True
    reopening_changes_identifier: bool = False
    """The documents keep the identifier; some brokers open a new position."""
    variation_margin_reopens: bool = True
    """Variation margin closes and opens each position again. Off: a deal of volume 0 carries the
    money and the open price is replaced, as at some exchanges."""
