"""The fault plan of a run: data, drawn from a single seed, that can be shortened and repeated.

A plan is a list of strikes: a time, and a fault. The details of a strike (which position, how long)
are drawn from the seed and from the strike's own number, so that removing a strike leaves all other
strikes unchanged. A run draws few kinds of faults and many strikes of each, because repeated
combinations of the same faults find more bugs (Groce et al., "Swarm Testing"). Seed after seed has
another kind, or another mix, in its focus, so that a few hundred seeds in a row meet each kind many
times.
"""

from __future__ import annotations

import enum
import random

import msgspec

# The symbol that the bots trade, and the contract that its positions may be rolled into.
SYMBOL, NEXT_CONTRACT = "EURUSD", "EURUSD_DEC"
STRIKES_LEAST, STRIKES_MOST = 3, 16
KINDS_LEAST, KINDS_MOST = 2, 7
SAFETY_MS_LEAST, SAFETY_MS_MOST = 20_000, 60_000
# The share of strikes that are of the kind in a seed's focus, or of the mix.
FOCUS, FOCUS_ON_MIX = 0.4, 0.7
# A strategy that looks back over many prices needs more prices than the world's own trader.
STRATEGY_TIMES, STRATEGY_QUOTE_EVERY_MS = 3, 200
# More than the smallest volume, so that a position can be filled and closed in part.
STRATEGY_LOTS = 0.03
# One seed in so many trades at an exchange; which, is drawn by no generator, so that the plans of
# all seeds stay as they were.
EXCHANGE_EVERY, EXCHANGE_AT = 23, 22


# The classes of corrections that a policy can make wait for approval.
ASKING = ("protection", "drift", "ghost", "zombie", "pending")


class Fault(enum.Enum):
    """Every kind of fault, in words that go into a sentence."""

    # The network.
    REQUEST_LOST = "a request is lost"
    REPLY_LOST = "a reply is lost"
    REQUEST_LATE = "a request is late"
    REPLY_LATE = "a reply is late"
    REQUEST_DUPLICATED = "a request arrives twice"
    REPLY_DUPLICATED = "a reply arrives twice"
    REQUESTS_REORDERED = "a request is overtaken"
    REPLIES_REORDERED = "a reply is overtaken"
    REQUEST_CORRUPTED = "a request is corrupted"
    REPLY_CORRUPTED = "a reply is corrupted"
    REQUEST_CUT = "a request is cut short"
    REPLY_CUT = "a reply is cut short"
    PARTITION = "the network is cut"
    HINTS_LOST = "a hint is lost"
    HINTS_FALSE = "a hint comes false, old and doubled"
    # The gateway.
    GATEWAY_RESTARTED = "the gateway restarts"
    GATEWAY_POWER_LOST = "the gateway's machine loses its power"
    GATEWAY_DISK_FULL = "the disk of the gateway's machine is full"
    GATEWAY_DOWNGRADED = "the gateway knows only the guide's wire"
    ALLOW_EDITED = "somebody edits the gateway's allow file"
    # The terminal.
    TERMINAL_RESTARTED = "the terminal restarts"
    DISCONNECTED_OLD = "the terminal is disconnected and shows its old list"
    DISCONNECTED_EMPTY = "the terminal is disconnected and shows an empty list"
    DISCONNECTED_HALF = "the terminal is disconnected and shows half of its list"
    IPC_LOST = "the pipe to the terminal breaks"
    OTHER_ACCOUNT = "the terminal is logged in to another account"
    SAME_LOGIN_ELSEWHERE = "the terminal is logged in to the same number at another server"
    LIST_EMPTY = "a list is answered empty"
    LIST_HALF = "a list is answered in part"
    LIST_STALE = "a list is answered as it was"
    ROW_ODD = "a row of a list is odd"
    ROW_TWICE = "a row of a list comes twice"
    CALL_FAILS = "a call of the terminal fails"
    CHANGED_WHILE_READ = "the account changes while it is read"
    LIST_SWAPPED = "a list is answered as it was, and another position has come for one of it"
    TRADING_OFF = "automated trading is switched off"
    READ_ONLY = "the terminal is logged in with the password that may only read"
    # Outcomes of orders.
    NONE_EXECUTED = "order_send returns None, and the order is executed"
    NONE_NOT_EXECUTED = "order_send returns None, and the order is not executed"
    TIMEOUT_EXECUTED = "the server times out, and executes the order later"
    TIMEOUT_NOT_EXECUTED = "the server times out, and never executes the order"
    DONE_WITHOUT_DEAL = "the answer comes without a deal"
    PLACED_FIRST = "the order is placed, and executed later"
    PARTIAL_FILL = "the order is filled in part"
    REQUOTE = "the price is requoted"
    RETCODE = "the server refuses"
    REFUSED_EXECUTED = "the server says no, and executes the order"
    SEND_HANGS = "order_send hangs until its process is killed"
    LOST_FILL = "the server takes a fill back"
    # The broker's habits.
    LATE_POSITIONS = "positions show late"
    LATE_POSITIONS_UNPROVEN = "positions show late, on the guide's wire alone"
    LATE_DEALS = "deals show late, in any order"
    LATE_ORDERS = "orders show late"
    COMMENT_REWRITTEN = "the broker rewrites comments"
    COMMENT_CUT = "the broker cuts comments"
    TICKET_CHANGED = "a position gets another ticket"
    DAY_CHANGED = "the server's day ends"
    DST_CHANGED = "the server's clock changes between summer and winter"
    # The broker's back office.
    COMMISSION_LATE = "the broker charges a commission afterwards"
    COMMISSION_BLOCKED = "the broker charges the day's blocked commissions"
    DEAL_AMENDED = "the broker amends a deal"
    DEAL_CANCELLED = "the broker cancels a deal"
    REOPENED_ANEW = "the broker closes a position and opens it again as another one"
    SPLIT = "the symbol is split"
    ROLLED = "a position is rolled into the next contract"
    MARGIN_REOPENS = "variation margin is settled by opening positions again"
    MARGIN_BY_MONEY = "variation margin is settled by a deal without volume"
    HISTORY_ARCHIVED = "the history of before is archived"
    TRADE_MODE = "the broker restricts trading in the symbol"
    FILLING_MODE = "the symbol's filling modes change"
    STEPS = "the symbol's smallest volume and price step change"
    STEPS_FINER = "the symbol's volume step becomes finer"
    SYMBOL_RENAMED = "the symbol gets another name"
    HABITS = "terminal and broker take on other habits"
    # People and others.
    HAND_OPENS = "somebody opens a position by hand"
    HAND_CLOSES = "somebody closes a position by hand"
    HAND_CLOSES_PART = "somebody closes a part by hand"
    HAND_MOVES_STOPS = "somebody moves the stops"
    HAND_CLOSES_BY = "somebody closes a position by another"
    HAND_REVERSES = "somebody turns a position round"
    HAND_PLACES = "somebody places a pending order"
    HAND_CANCELS = "somebody cancels a pending order"
    ROBOT = "another robot trades"
    COPY = "a copy of the bot's journal sends what the bot never did"
    STOPS_HIT = "the market runs into the stops"
    FILLED_IN_PARTS = "a pending order is filled in parts, one after the other"
    FILLED_UNSEEN = "a pending order is filled and its position closed at once"
    BALANCE_MOVED = "somebody pays money in or out"
    STOP_OUT = "the broker closes for want of margin"
    # The bot.
    KILL_BEFORE_INTENT = "the bot dies before it records an intent"
    KILL_AFTER_INTENT = "the bot dies after it recorded an intent"
    KILL_AFTER_SEND_STARTED = "the bot dies as it is about to send"
    KILL_AFTER_SEND = "the bot dies as soon as it has sent"
    KILL_BEFORE_OUTCOME = "the bot dies before it records the outcome"
    KILL_AFTER_OUTCOME = "the bot dies after it recorded the outcome"
    KILL_INSIDE_PLAN = "the bot dies before it records a plan"
    KILL_INSIDE_CHECKPOINT = "the bot dies inside a checkpoint"
    KILL_BEFORE_COMMIT = "the bot dies before a commit"
    KILL_AFTER_COMMIT = "the bot dies after a commit"
    KILL_ANYWHERE = "the bot is killed"
    STOPPED = "the bot is stopped and started again"
    SUSPENDED = "the bot's machine sleeps"
    SUSPENDED_LONG = "the bot's machine sleeps for minutes"
    SECOND_BOT = "a second bot is started on the same account"
    TAKEN_OVER = "a second bot takes the account over from one that lives"
    INTERRUPTED = "somebody interrupts the bot as it waits for an answer, and it goes on"
    SYNC_BY_HAND = "somebody asks for a sync while one is under way"
    # Disks and clocks.
    DISK_FULL = "the disk is full"
    DISK_SLOW = "the disk is slow"
    COMMIT_UNANSWERED = "a commit gives no answer, and is on the disk"
    COMMIT_FAILS = "a commit fails"
    POWER_LOST = "the bot's machine loses its power"
    JOURNAL_PUT_BACK = "an earlier copy of the journal is put back"
    JOURNAL_MOVED = "the journal's file is moved while the bot runs"
    CLOCK_SET = "the bot's clock is set under its feet"
    CLOCK_JUMPS = "the bot's clock is set, and the bot starts anew"


class Strike(msgspec.Struct, frozen=True):
    """A fault that strikes `at_ms` after the beginning; `number` is its place in the whole plan."""

    number: int
    at_ms: int
    fault: Fault


class Setting(msgspec.Struct, frozen=True):
    """The correct circumstances that differ from run to run.

    `owns_magic` says that the bots own the positions with their magic number, else all in their
    symbol; `hints` that the gateway hints at changes; `pins_account` that the gateway serves a
    single account; `fills_in_part` that the broker may fill a part of an order; `lots` is the
    volume per signal; `owns_next_contract` says that the bots own the next contract too; `proves`
    that the gateway shows deals and orders and keeps a record, which a gateway with only the
    guide's wire never does; `is_coarse` that the volume step is a tenth of a lot at first, and
    `is_fine` that the step is a thousandth; `asks` is the class of corrections that needs approval;
    `at_exchange` that the symbol is traded at an exchange, whose market has few lots at times.
    Times are milliseconds.
    """

    netting: bool = False
    owns_magic: bool = True
    magic_token: bool = False
    trades_by_signal: bool = False
    pace_ms: int = 250
    sync_interval_ms: int = 5_000
    timeout_ms: int = 2_000
    wish_every_ms: int = 2_500
    offset_minutes: int = 120
    commission: bool = False
    hints: bool = False
    pins_account: bool = True
    fills_in_part: bool = False
    quote_every_ms: int = 700
    lots: float = 0.01
    owns_next_contract: bool = False
    proves: bool = True
    is_coarse: bool = False
    is_fine: bool = False
    asks: str = ""
    at_exchange: bool = False

    def sentence(self, magic: int) -> str:
        """Return the settings that a reader of the story needs; the bots' number is `magic`."""
        # A reader cannot follow corrections without knowing which positions the bots own.
        account = "netting" if self.netting else "hedging"
        whose = f"with magic {magic}" if self.owns_magic else "in their symbol"
        whose += f", {NEXT_CONTRACT} included" if self.owns_next_contract else ""
        parts: tuple[str, ...] = (
            f"The account is a {account} one, and the bots own the positions {whose}",
            f"a sync comes every {self.sync_interval_ms / 1000:g} s and at hints"
            if self.hints
            else f"a sync comes every {self.sync_interval_ms / 1000:g} s",
            f"a reply is waited for {self.timeout_ms / 1000:g} s",
            f"the trade server is {self.offset_minutes:+d} minutes from UTC",
        )
        if not self.proves:
            parts += ("the gateway knows only the guide's wire",)
        if self.at_exchange:
            parts += ("the symbol is traded at an exchange, which fills orders in parts",)
        return f"{'; '.join(parts)}."


class FaultPlan(msgspec.Struct, frozen=True):
    """The whole input of a run: the seed, the setting, and the strikes, oldest first."""

    seed: int
    safety_ms: int
    setting: Setting
    strikes: tuple[Strike, ...]

    def only(self, numbers: frozenset[int]) -> FaultPlan:
        """Return this plan with only the strikes of these numbers."""
        kept = tuple(strike for strike in self.strikes if strike.number in numbers)
        return msgspec.structs.replace(self, strikes=kept)

    def chance(self, name: str) -> random.Random:
        """Return a random generator for a single purpose, which no other purpose changes."""
        return random.Random(f"{self.seed} {name}")


MIXES: tuple[tuple[Fault, ...], ...] = (
    (Fault.LIST_EMPTY, Fault.LIST_HALF, Fault.LIST_STALE),
    (Fault.DISCONNECTED_EMPTY, Fault.DISCONNECTED_HALF, Fault.SYNC_BY_HAND),
    (Fault.NONE_EXECUTED, Fault.HAND_CLOSES, Fault.STOPS_HIT),
    (Fault.SEND_HANGS, Fault.TIMEOUT_EXECUTED, Fault.HAND_CLOSES),
    (Fault.GATEWAY_POWER_LOST, Fault.REQUEST_DUPLICATED),
    (Fault.GATEWAY_POWER_LOST, Fault.COMMENT_REWRITTEN, Fault.COMMENT_CUT),
    (Fault.NONE_EXECUTED, Fault.COMMENT_REWRITTEN, Fault.CLOCK_JUMPS),
    (Fault.TIMEOUT_EXECUTED, Fault.DISCONNECTED_OLD),
    (Fault.LATE_POSITIONS_UNPROVEN, Fault.HAND_CLOSES, Fault.REPLY_LOST),
    (Fault.HISTORY_ARCHIVED, Fault.DEAL_AMENDED, Fault.COMMISSION_LATE),
    (Fault.PARTIAL_FILL, Fault.REPLY_LOST, Fault.NONE_EXECUTED),
    (Fault.GATEWAY_DISK_FULL, Fault.REQUEST_DUPLICATED, Fault.REQUEST_LATE),
    (Fault.DISK_FULL, Fault.KILL_ANYWHERE, Fault.COMMIT_FAILS),
    (Fault.LATE_POSITIONS, Fault.LATE_DEALS, Fault.REPLY_LATE),
    (Fault.DISCONNECTED_OLD, Fault.HINTS_LOST, Fault.HAND_CLOSES),
    (Fault.RETCODE, Fault.STOPPED, Fault.KILL_ANYWHERE),
    (Fault.FILLED_IN_PARTS, Fault.HAND_MOVES_STOPS),
)
"""Kinds of faults that together cause situations that each kind alone rarely causes."""
FOCUSES: tuple[tuple[Fault, ...], ...] = (*((fault,) for fault in Fault), *MIXES)
"""The focus of the seeds, in turn."""


SEEN_UNPROVEN = frozenset(
    {
        Fault.LATE_POSITIONS_UNPROVEN,
        Fault.REQUEST_LOST,
        Fault.REPLY_LOST,
        Fault.REQUEST_LATE,
        Fault.REPLY_LATE,
        Fault.REQUEST_DUPLICATED,
        Fault.REPLY_DUPLICATED,
        Fault.PARTITION,
        Fault.GATEWAY_RESTARTED,
        Fault.RETCODE,
        Fault.REQUOTE,
        Fault.COMMENT_CUT,
        Fault.HAND_OPENS,
        Fault.HAND_CLOSES,
        Fault.HAND_CLOSES_PART,
        Fault.HAND_MOVES_STOPS,
        Fault.ROBOT,
        Fault.STOPS_HIT,
        Fault.KILL_AFTER_INTENT,
        Fault.KILL_AFTER_SEND_STARTED,
        Fault.KILL_AFTER_SEND,
        Fault.KILL_BEFORE_OUTCOME,
        Fault.KILL_AFTER_OUTCOME,
        Fault.KILL_INSIDE_PLAN,
        Fault.KILL_AFTER_COMMIT,
        Fault.KILL_ANYWHERE,
        Fault.STOPPED,
        Fault.SUSPENDED,
        Fault.DISK_FULL,
        Fault.POWER_LOST,
    }
)
"""The faults of runs in which a bot has only plain lists: none that makes such a list false.

A plain list alone cannot tell a terminal that lost its server from an account without positions.
"""


def draw(seed: int) -> FaultPlan:
    """Return the plan of a seed."""
    # The order of the draws is part of the seed's meaning: a new draw changes all seeds.
    chance = random.Random(f"{seed} plan")
    focus = FOCUSES[seed % len(FOCUSES)]
    setting = _fitting(_setting(chance), focus)
    safety_ms = chance.randrange(SAFETY_MS_LEAST, SAFETY_MS_MOST)
    possible = [fault for fault in Fault if _fits(fault, setting)]
    kinds = chance.sample(possible, chance.randint(KINDS_LEAST, KINDS_MOST))
    # A mix needs more strikes than a single kind, because its kinds must meet.
    share = FOCUS if len(focus) == 1 else FOCUS_ON_MIX
    count = chance.randint(STRIKES_LEAST, STRIKES_MOST)
    times = sorted(chance.randrange(2_000, safety_ms) for _ in range(count))
    strikes = tuple(
        Strike(number, at_ms, chance.choice(focus if chance.random() < share else kinds))
        for number, at_ms in enumerate(times, start=1)
    )
    # A bot that sees only plain lists cannot see which orders still work.
    if seed % EXCHANGE_EVERY == EXCHANGE_AT and setting.proves:
        setting = msgspec.structs.replace(setting, at_exchange=True)
    return FaultPlan(seed, safety_ms, setting, strikes)


def calm(seed: int) -> FaultPlan:
    """Return the plan of a seed without any fault."""
    return draw(seed).only(frozenset())


def _setting(chance: random.Random) -> Setting:
    netting = chance.random() < 0.35
    by_signal = chance.random() < 0.2
    return Setting(
        netting=netting,
        # The bots of a strategy own all positions, as in earlier versions of the draw.
        owns_magic=not netting and not by_signal and chance.random() < 0.7,
        magic_token=chance.random() < 0.3,
        trades_by_signal=by_signal,
        pace_ms=chance.choice((250, 500)),
        sync_interval_ms=chance.choice((1_000, 3_000, 8_000, 15_000)),
        timeout_ms=chance.choice((1_000, 2_000)),
        wish_every_ms=chance.choice((1_000, 2_000, 4_000)),
        offset_minutes=chance.choice((0, 120, 180, -300)),
        commission=chance.random() < 0.3,
        hints=chance.random() < 0.3,
        pins_account=chance.random() < 0.5,
        fills_in_part=chance.random() < 0.5,
        owns_next_contract=chance.random() < 0.5,
        is_coarse=chance.random() < 0.05,
        is_fine=chance.random() < 0.1,
        asks=chance.choice(ASKING) if chance.random() < 0.2 else "",
    )


def _fitting(setting: Setting, focus: tuple[Fault, ...]) -> Setting:
    """Return a setting in which the faults of the focus can happen."""
    # Some faults need a kind of account, a gateway or a volume step; see `_fits`.
    changes: dict[str, bool | str] = {}
    if Fault.HAND_REVERSES in focus:
        changes = {"netting": True, "owns_magic": False}
    if Fault.HAND_CLOSES_BY in focus:
        changes = {"netting": False}
    if Fault.HINTS_LOST in focus or Fault.HINTS_FALSE in focus:
        changes = {"hints": True}
    if Fault.PARTIAL_FILL in focus:
        changes = {"fills_in_part": True}
    if Fault.LATE_POSITIONS_UNPROVEN in focus:
        changes = {"proves": False, "asks": ""}
    if Fault.STEPS_FINER in focus:
        changes = {"is_coarse": True}
    if Fault.FILLED_IN_PARTS in focus:
        changes = {"netting": True, "owns_magic": False}
    fitting = msgspec.structs.replace(setting, **changes)
    return msgspec.structs.replace(fitting, is_fine=fitting.is_fine and not fitting.is_coarse)


def _fits(fault: Fault, setting: Setting) -> bool:
    # A fault that cannot happen in the setting would waste strikes of the plan.
    if not setting.proves:
        return fault in SEEN_UNPROVEN
    if fault is Fault.LATE_POSITIONS_UNPROVEN:
        return False
    if fault is Fault.HAND_REVERSES:
        return setting.netting
    if fault is Fault.HAND_CLOSES_BY:
        return not setting.netting
    if fault in (Fault.HINTS_LOST, Fault.HINTS_FALSE):
        return setting.hints
    if fault is Fault.PARTIAL_FILL:
        return setting.fills_in_part
    if fault is Fault.STEPS_FINER:
        return setting.is_coarse
    return True


def trading(plan: FaultPlan) -> FaultPlan:
    """Return a plan in which the bots trade by a strategy's signals, for longer, on more prices."""
    setting = msgspec.structs.replace(
        plan.setting,
        trades_by_signal=True,
        owns_magic=False,
        quote_every_ms=STRATEGY_QUOTE_EVERY_MS,
        lots=STRATEGY_LOTS,
        is_coarse=False,
    )
    strikes = tuple(
        msgspec.structs.replace(one, at_ms=one.at_ms * STRATEGY_TIMES) for one in plan.strikes
    )
    safety_ms = plan.safety_ms * STRATEGY_TIMES
    return FaultPlan(plan.seed, safety_ms, setting, strikes)
