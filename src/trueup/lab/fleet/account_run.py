"""An account at a process of a node: opened, recovered, traded and closed by the product."""

from __future__ import annotations

import random
from contextlib import ExitStack
from functools import partial
from typing import Final, Protocol

import msgspec

from trueup.core.limits.limits import NO_LIMITS
from trueup.core.policy import Policy
from trueup.doors.account import Account, scope_policy
from trueup.doors.accounts.machine import PAUSED_IN_FLEET
from trueup.doors.accounts.opened_account import StillWaiting, wait_for_former
from trueup.doors.fleet.node import Node, ShardRight
from trueup.doors.fleet.shards import shard_of
from trueup.errors import JournalConflict, Refused, TrueupError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal.database.database import Database
from trueup.lab.facts.facts import Fact
from trueup.lab.fleet import facts
from trueup.lab.fleet.account_side import AccountOwner, AccountSide
from trueup.lab.fleet.journal import ServerDatabase
from trueup.lab.fleet.plan import FleetPlan
from trueup.lab.fleet.server import Client, Server
from trueup.lab.fleet.spots import Spot
from trueup.lab.fleet.tasks import TaskSchedule
from trueup.lab.fleet.way import OnTheWay, Way, WorldRenewals
from trueup.lab.system.clocks import ProcessClock
from trueup.lab.system.schedule import MS
from trueup.lab.system.views import BELIEVED
from trueup.lab.system.wire import WorldLink

# Shorter than the usual wait, as the world's gateways execute nothing late: see `GRACE_SEC` of
# `lab.world.world`.
POLICY: Final[Policy] = msgspec.structs.replace(scope_policy((), ()), grace_period_ms=10_000)
RETRY_MS, RETRY_MOST_MS = 500, 2_000
NOT_SENT = "Not sent: "


class AccountWorld(Protocol):
    """The world, as an account knows it."""

    plan: FleetPlan
    schedule: TaskSchedule
    server: Server
    owners: dict[str, AccountOwner]

    def observe(self, fact: Fact) -> None:
        """Take a fact."""

    def opening_ms(self, side: AccountSide) -> int:
        """Return how long after its claim the account that is opened now is read."""


class AccountProcess(Client, OnTheWay, Protocol):
    """The process of an account."""

    is_stopped: bool
    clock: ProcessClock
    renewals: WorldRenewals
    chance: random.Random

    def pass_spot(self, spot: Spot) -> None:
        """Pass a moment at which the process may stand still."""

    def has_closed(self, name: str) -> None:
        """Forget an account that is closed."""


class AccountRun:
    """An account at a process.

    Args:
        process: the process.
        world: the world.
        node: the process's node.
        side: the account's gateway.
    """

    def __init__(
        self, process: AccountProcess, world: AccountWorld, node: Node, side: AccountSide
    ) -> None:
        self._process, self._world, self._side = process, world, side
        self.name = side.name
        number = shard_of(side.name, node.shards)
        self.claim: tuple[int, int] = number, node.owned[number].epoch
        """Shard and epoch by which the account runs."""
        self.right: ShardRight = ShardRight(node, *self.claim)
        self._node = node
        self.account: Account | None = None
        self.is_dropped = False
        """The node has to close the account."""
        self.believed_ns = 0
        """When a reading was believed last."""
        self._openings = 0

    @property
    def is_over(self) -> bool:
        """Whether the account is to be closed."""
        return self.is_dropped or self._process.is_stopped

    def live(self) -> None:
        """Open the account and trade it until the node drops it; try again after a failure."""
        failures = 0
        while not self.is_over:
            try:
                self.account = self._opened()
                failures = 0
                self._trade(self.account)
            except TrueupError as error:
                if isinstance(error, JournalConflict | Refused) and self.account is not None:
                    # Another process has the book: nothing but another claim changes that.
                    self._shut()
                    self._rest(3_600_000)
                failures += 1
            self._shut()
            self._rest(min(RETRY_MS * 2 ** min(failures, 4), RETRY_MOST_MS))
        self._process.has_closed(self.name)

    def _rest(self, ms: int) -> None:
        schedule = self._world.schedule
        schedule.run(schedule.now_ns + ms * MS, lambda: self.is_over)
        self._process.must_live()

    def _shut(self) -> None:
        account, self.account = self.account, None
        if account is not None:
            account.shut()

    def _opened(self) -> Account:
        """Open the account in the order in which `OpenedAccount` does, and recover.

        Raises:
            TrueupError: as for `OpenedAccount`.
        """
        process, world = self._process, self._world
        self._openings += 1
        run = f"{process.run}.{self.name}.{self._openings}"
        with ExitStack() as undo:
            gateway = self._gateway(run)
            undo.callback(gateway.disconnect)
            process.pass_spot(Spot.OPENING)
            database = self._database()

            def permit(used: Database) -> None:
                self.right.permit(used)
                database.permitted(self.claim, run)

            account = Account(
                gateway,
                journal=database,
                policy=POLICY,
                account=self._side.login_name,
                clock=process.clock,
                limits=NO_LIMITS,
                sync_interval_sec=world.plan.setting.sync_ms / 1_000,
                permit=permit,
                run=run,
            )
            undo.callback(account.shut)
            gateway.why_not_now = self.right.why_not_now
            try:
                wait_for_former(account, self.right)
            except StillWaiting:
                world.observe(facts.Waits(world.schedule.now_ns, self.name, process.name))
                raise
            self._open_slowly()
            self._obey_pause(account)
            self._note(account.reconciler.startup_recovery().status in BELIEVED)
            undo.pop_all()
        return account

    def _open_slowly(self) -> None:
        schedule, wait_ms = self._world.schedule, self._world.opening_ms(self._side)
        if wait_ms:
            schedule.run(schedule.now_ns + wait_ms * MS)
            self._process.must_live()

    def _gateway(self, run: str) -> ExecutionGateway:
        process, setting = self._process, self._world.plan.setting
        way = Way(self._side.network, process, process.chance, loses=not setting.is_fenced)
        return ExecutionGateway(
            "127.0.0.1",
            5555,
            setting.timeout_ms,
            link=lambda _: WorldLink(way, process),
            session=run,
            renewals=process.renewals,
        )

    def _database(self) -> ServerDatabase:
        process = self._process
        is_sent = partial(process.pass_spot, Spot.JOURNALLED)
        return ServerDatabase(self._world.server, process, self.name, is_sent)

    def _trade(self, account: Account) -> None:
        world, name = self._world, self.name
        owner, schedule = world.owners[name], world.schedule
        while not self.is_over:
            self._note(account.sync().status in BELIEVED)
            self._obey_pause(account)
            why = owner.act(account)
            if why.startswith(NOT_SENT):
                told = facts.NotSentNow(schedule.now_ns, name, self._process.name, why)
                world.observe(told)
            self._rest(world.plan.setting.sync_ms)

    def _note(self, is_believed: bool) -> None:
        if is_believed:
            self.believed_ns = self._world.schedule.now_ns

    def _obey_pause(self, account: Account) -> None:
        """Pause or resume as the fleet has it, as `AccountMachine` does."""
        pause = self._node.pauses.get("") or self._node.pauses.get(self.name)
        if pause is not None:
            account.pause(pause.who, why=PAUSED_IN_FLEET)
        elif account.paused is not None and account.paused.why.startswith(PAUSED_IN_FLEET):
            account.resume("fleet", why="no longer paused")
