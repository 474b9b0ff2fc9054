"""Open the account of an entry: its gateway, its book, its strategy, and its loop in steps."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from trueup.core.limits.modes import BY_FAILURE
from trueup.doors.account import Account
from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.right import Right
from trueup.doors.running.opening import policy_of
from trueup.errors import SettingsError, StrategyError, TrueupError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal.backends.location import is_file
from trueup.runtime.time.clock import Clock
from trueup.runtime.trading.own_strategy import OwnStrategy
from trueup.runtime.trading.prices import GatewayPrices
from trueup.runtime.trading.stepped_loop import SteppedLoop
from trueup.runtime.trading.strategy import METHODS
from trueup.runtime.trading.strategy_loading import load_strategy


class StillWaiting(TrueupError):
    """An account cannot be judged yet; to open it again later will do."""


class OpenedAccount:
    """An account that is open, with the loop that trades it; waits for the gateway and the disk.

    Args:
        entry: the entry of the file.
        clock: the source of time.
        right: the right to trade the account; None where no other process is a candidate.

    Raises:
        StillWaiting: what a former owner sent may still be carried out.
        SettingsError, StrategyError: the strategy cannot be used.
        TrueupError: as for `Account`.
    """

    def __init__(self, entry: AccountEntry, clock: Clock, right: Right | None = None) -> None:
        settings = entry.settings
        self.place: str = settings.trueup_journal
        own = _strategy_of(entry)
        with ExitStack() as undo:
            self.gateway: ExecutionGateway = ExecutionGateway(
                entry.endpoint.host,
                entry.endpoint.port,
                settings.gtw_timeout_ms,
                server_key=settings.gtw_server_key,
                key_file=settings.gtw_key_file or None,
            )
            undo.callback(self.gateway.disconnect)
            self.account: Account = Account(
                self.gateway,
                journal=_place_of(self.place),
                magics=entry.magics,
                symbols=entry.symbols,
                policy=policy_of(settings),
                account=settings.trueup_account,
                clock=clock,
                limits=entry.limits,
                real_money=settings.trueup_real_money,
                sync_interval_sec=settings.sync_interval_sec,
                permit=None if right is None else right.permit,
            )
            undo.callback(self.account.shut)
            if right is not None:
                self.gateway.why_not_now = right.why_not_now
                wait_for_former(self.account, right)
            undo.pop_all()
        self.loop: SteppedLoop = self._loop_of(entry, own)

    def _loop_of(self, entry: AccountEntry, own: OwnStrategy) -> SteppedLoop:
        account = self.account
        names = entry.symbols if own.has("on_tick") else ()

        def failed(error: StrategyError) -> None:
            account.pause(BY_FAILURE, why=str(error).rstrip("."))
            loop.has_failed = True

        loop = SteppedLoop(
            account.manager,
            account.reconciler,
            own,
            {name: GatewayPrices(self.gateway, name) for name in names},
            portfolio={name: account.portfolio(name) for name in names}.__getitem__,
            volume=entry.settings.trueup_volume,
            pace_sec=entry.pace_sec,
            callbacks=account.callbacks,
            on_failure=failed,
            account=account,
        )
        loop.is_listening = bool(entry.settings.trueup_strategy)
        return loop

    def close(self) -> None:
        """Close the journal and the connections, and give the claim up."""
        self.account.shut()


def wait_for_former(account: Account, right: Right) -> None:
    """Refuse to go on while an order of a former owner may be carried out, unseen by the book.

    The gateway refuses it where it has recorded the token of this journal. An older gateway does
    not, so all that the former owner had sent must have come to its end first.

    Raises:
        StillWaiting: it may.
    """
    gateway = account.gateway
    if gateway.is_fenced or not account.manager.journal_id:
        return
    left_sec = right.wait_sec(gateway.timeout_ms / 1_000)
    if left_sec > 0:
        raise StillWaiting(
            f"{right.former} had the account, and its gateway records no fencing tokens: the "
            f"account is judged in {left_sec:.0f} seconds, when no order of before can arrive"
        )


class _NoStrategy:
    """The strategy of an account on which only a person trades."""


def _strategy_of(entry: AccountEntry) -> OwnStrategy:
    name = entry.settings.trueup_strategy
    if not name:
        return OwnStrategy("none", _NoStrategy)
    own = load_strategy(name, METHODS)
    if own.has("on_tick") and not entry.symbols:
        valid = f"name the symbols whose prices on_tick of {name} gets"
        raise SettingsError(f"symbols of {entry.name} in {entry.who}", "", valid)
    return own


def _place_of(place: str) -> str | Path | None:
    """Return the place of a journal, with the folder of a file made; None for no journal."""
    if not place:
        return None
    if not is_file(place):
        return place
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
