"""`trueup.run`: a strategy in a loop that a person can see, ask and stop from a second shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

from trueup.core.limits.modes import BY_FAILURE
from trueup.doors.account import Account
from trueup.doors.running.service_manager import ServiceManager
from trueup.doors.running.signals import stopped_by_signals
from trueup.journal.backends.location import database_at, is_file
from trueup.observe.status.facts import BotFacts
from trueup.observe.status.status import Status
from trueup.runtime.control.listener import Control, listening
from trueup.runtime.time.clock import utc
from trueup.runtime.trading.loop import PACE_SEC, TradingLoop
from trueup.runtime.trading.own_strategy import own_strategy
from trueup.runtime.trading.prices import GatewayPrices
from trueup.runtime.trading.strategy import METHODS


def run(
    account: Account,
    strategy: object,
    *,
    symbols: Iterable[str] = (),
    volume: float = 0.01,
    pace_sec: float = PACE_SEC,
    duration_sec: float | None = None,
    after_turn: Callable[[TradingLoop], None] | None = None,
    view: Callable[[Status], None] | None = None,
) -> None:
    """Recover, then trade a strategy until `trueup stop`, Ctrl-C, SIGTERM, or a duration.

    The account is kept in agreement with the broker meanwhile. From a second shell in the same
    folder, `trueup status`, `plan`, `approve`, `settle` and the other commands reach the bot, and
    systemd is told when the bot is ready and alive.

    A strategy that fails is paused, with the error as the reason: nothing more is sent for it, also
    after a restart, until a person has corrected it and resumes. Syncs and commands go on.

    Args:
        account: the open account; it stays open afterwards.
        strategy: an object with any of the methods of `Strategy`.
        symbols: the symbols whose prices `on_tick` gets; by default those of the account's scope.
        volume: lots of an entry by a signal of `on_tick`.
        pace_sec: seconds from a turn to the next turn.
        duration_sec: end after so many seconds; None for no end.
        after_turn: called after each turn, such as to stop the loop.
        view: called after each turn with the status of the bot, such as to draw it.

    Raises:
        JournalConflict: another process took the journal over, and trades instead.
        Refused: the account has or may have real money, and was opened without `real_money`.
        TrueupError: a second shell could not reach this bot.
        ValueError: the strategy has none of the methods, or a symbol is not in the account's scope.
    """
    own = own_strategy(strategy)
    if not any(own.has(method) for method in METHODS):
        raise ValueError(f"{strategy!r:.60} is no strategy: give it {' or '.join(METHODS)}.")
    names = tuple(symbols) or account.reconciler.policy.named_symbols
    if own.has("on_tick") and not names:
        raise ValueError(
            "symbols=() is not valid: the account's scope is every symbol, so name the symbols "
            "whose prices on_tick gets."
        )
    loop = TradingLoop(
        account.manager,
        account.reconciler,
        own,
        {name: GatewayPrices(account.gateway, name) for name in names if own.has("on_tick")},
        portfolio={name: account.portfolio(name) for name in names}.__getitem__,
        volume=volume,
        pace_sec=pace_sec,
        callbacks=account.callbacks,
        on_failure=lambda error: account.pause(BY_FAILURE, why=str(error).rstrip(".")),
        account=account,
    )
    manager = ServiceManager(account.manager.clock)
    with stopped_by_signals(loop.stop), _commanded(loop, account) as control:

        def turned() -> None:
            control.turn()
            manager.turn(account.health)
            if view is not None:
                view(control.status())
            if after_turn is not None:
                after_turn(loop)

        try:
            loop.run(duration_sec, turned, control.answer)
        finally:
            manager.stopping()


@contextlib.contextmanager
def _commanded(loop: TradingLoop, account: Account) -> Iterator[Control]:
    """Listen to a second shell, until the end of the `with` block."""
    place = account.journal_place
    facts = BotFacts(
        pid=os.getpid(),
        started=utc(loop.pm.clock.now_ns()).isoformat(timespec="seconds"),
        gateway=f"at {account.gateway.url}",
        endpoint=account.gateway.url,
        journal="" if place is None else database_at(place).name,
        journal_file=os.path.abspath(place) if place is not None and is_file(place) else "",
        stream="" if place is None else account.manager.stream,
    )
    # A connection of its own: a command must not wait behind the loop's requests.
    with account.gateway.another() as second, listening(loop, second, facts) as control:
        yield control
