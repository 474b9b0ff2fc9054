"""The world from the strikes' side: the parts that a strike may change, and the world's acts.

The strikes depend on this protocol, and `lab.world.world.World` satisfies it, so that the world can
import the strikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trueup.lab.facts.facts import Fact
from trueup.lab.plan.plan import Fault, FaultPlan
from trueup.lab.system.bot import BotProcess
from trueup.lab.system.disk import Disk, JournalCopy
from trueup.lab.system.gateway import GatewayProcess
from trueup.lab.system.schedule import Schedule
from trueup.lab.system.wire import Network
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import Position
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal


class StruckWorld(Protocol):
    """A world that strikes can change; `lab.world.world.World` documents each member."""

    plan: FaultPlan
    schedule: Schedule
    gateway: GatewayProcess
    network: Network
    disk: Disk
    magic: int
    other_login: int
    symbol: str
    bid: float
    price_scale: float
    set_back_sec: int
    is_healed: bool
    loss_is_unasked: bool
    restarts_bots: bool
    struck_out: set[int]
    awaited: dict[Fault, str]

    @property
    def now_ns(self) -> int: ...
    @property
    def terminal(self) -> SimulatedTerminal: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def bot(self) -> BotProcess: ...
    @property
    def bots(self) -> Sequence[BotProcess]: ...
    @property
    def lots_unit(self) -> float: ...
    @property
    def may_be_prolonged(self) -> bool: ...
    @property
    def is_coarse(self) -> bool: ...
    @is_coarse.setter
    def is_coarse(self, is_coarse: bool) -> None: ...

    # Observe the run.
    def observe(self, fact: Fact) -> None: ...
    def struck(self, fault: Fault, text: str, order_id: str = "", *, number: int = 0) -> None: ...

    # Bots and their journals.
    def start_another(self, *, take_over: bool) -> BotProcess | None: ...
    def start_anew(self) -> None: ...
    def lose_power(self) -> None: ...
    def put_journal_back(self, copy: JournalCopy, *, with_note: bool) -> None: ...
    def accept_losses(self) -> None: ...

    # The market and the account.
    def somebody(self, reason: int, magic: int = 0) -> Person: ...
    def move_market(self, step: float, *, said: bool = True) -> None: ...
    def scale_prices(self, ratio: float) -> None: ...
    def held_before(self, identifier: int) -> Position | None: ...
    def changed_last_by(self, identifier: int) -> int: ...

    # The length of the run.
    def faults_last_until(self, at_ns: int) -> None: ...
