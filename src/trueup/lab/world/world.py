"""A whole system in a single process, a single thread and a virtual time.

    bots (book, journal, desk, reconciler, client) - wire - gateway - terminal - trade server

All parts are the product's own code. Simulated parts are behind its interfaces: the clock, the
link, the terminal, and the databases under the journal and under the gateway's record. First the
faults of the plan happen (safety); then the faults stop, the market stands still, the bots have to
read the broker by themselves, and the books have to agree within a number of syncs (liveness). At
the end each bot must be able to trade.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from trueup.core.holds import HoldKind
from trueup.core.policy import Action, Adopt, Policy
from trueup.errors import JournalError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.faults.habits import usual
from trueup.lab.faults.people import moves_stops, supply_few_lots
from trueup.lab.faults.strikes import strike
from trueup.lab.faults.terminal import own_account
from trueup.lab.faults.terms import (
    COARSE_STEPS,
    NAMES,
    allow_trading,
    take_usual_name,
)
from trueup.lab.plan.plan import NEXT_CONTRACT, SYMBOL, Fault, FaultPlan, Setting
from trueup.lab.system.bot import BotProcess
from trueup.lab.system.broker import TellingBroker
from trueup.lab.system.disk import Disk, JournalCopy
from trueup.lab.system.gateway import GatewayProcess
from trueup.lab.system.recorder import Recorder
from trueup.lab.system.schedule import BEGIN_NS, MS, SECOND, OutOfTouch, Schedule, Stuck
from trueup.lab.system.trader import Wanderer
from trueup.lab.system.views import book_seen
from trueup.lab.system.wire import Network
from trueup.lab.world.encore import Encore, another_end, answered_oddly, read_by_time
from trueup.runtime.trading.strategy import MovingAverageCross, Strategy
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import BUYING_TYPES, Channel, Outcome, Position, Refusal
from trueup.sim.market.structs import TerminalInfo, TradeRequest
from trueup.sim.market.switches import ListAnswer, Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, EURUSD, AccountSetup, Charged, SymbolSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

MAGIC = 7
OTHER_LOGIN = 5_000_002
MOST_EVENTS = 200_000
HINTS_EVERY_MS = 400
# How often a person looks at the corrections that wait for approval.
APPROVES_EVERY_MS = 3_000
# A long journal takes long, so not every seed has one.
READS_BY_TIME_EVERY = 25
# When a person moves the first stops in a run in which that waits for a yes.
MOVES_STOPS_AFTER_MS = 6_000
SPREAD = 0.0001
CENT = 0.01
LOWEST, HIGHEST = 1.05, 1.15
# The volume step of a coarse and of a fine symbol; usually the step is a hundredth of a lot.
COARSE_LOTS, FINE_LOTS = 0.1, 0.001
# The trade server of a world executes an order at the latest 7 s after its timeout. So a sixth of
# the usual wait is enough here, and a run has time for more faults.
GRACE_SEC = 10
# The longest time for which a terminal of the world shows an old state, faults included.
SEES_LATE_NS = 30 * SECOND
# The return codes of requests that the trade server carried out.
DONE = frozenset({mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL, mt5.TRADE_RETCODE_PLACED})
# The time after healing by which all messages have arrived; the words of a hold that asks a person.
NOTHING_ON_ITS_WAY_SEC, CALLS = 14, "on_fill()"
# After failures a bot waits for up to a minute. Its first reading then may not be trusted, for
# example if the trade server's clock went back, which makes the bot wait a second time.
OWN_SYNC_WITHIN_SEC = 150
TRADES_SHOW_SEC = 12
# The times of the syncs: long enough for the last order to arrive and for a bot to restart, and
# then for a bot to prove an order absent.
SYNCS_AFTER_SEC = (1, 2, 4, 8, 14, 20, 26, 32, 38)


class World:
    """A run of a plan.

    Args:
        plan: the faults of the run, and its setting.
        make_strategy: the strategy of a bot that trades by signals.
        most_events: the number of events after which a run is called endless.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        make_strategy: Callable[[], Strategy] = MovingAverageCross,
        most_events: int = MOST_EVENTS,
    ) -> None:
        self.plan = plan
        self.schedule: Schedule = Schedule(most_events)
        self.magic = MAGIC
        self.other_login = OTHER_LOGIN
        self.struck_out: set[int] = set()
        """Positions that the broker deleted, so that no deal will ever prove their end."""
        self.awaited: dict[Fault, str] = {}
        """Habits of the broker without any effect yet, and the rest of the sentence about each.

        A habit is recorded when it first changes something.
        """
        # The broker's order of each token.
        self._done: dict[str, int] = {}
        # The state of each position after each of its changes, with the newest deal at that time.
        self._changes: dict[int, list[tuple[int, Position | None]]] = {}
        self.bid: float = EURUSD.bid
        self.price_scale: float = 1.0
        self.is_healed: bool = False
        self.symbol: str = SYMBOL
        """The broker's present name of the bots' symbol."""
        self._is_coarse = plan.setting.is_coarse
        self.terminal: HonestTerminal = self._terminal()
        # Listen before the recorder does: a habit is recorded before the change that it affects.
        self.ledger.listeners.append(self._changed)
        self._recorder = Recorder(self.ledger, lambda: self.now_ns)
        self.watchers: list[facts.Watcher] = self._recorder.watchers
        """The objects that receive every fact of the run."""
        assert self.terminal.initialize()
        # The parts only know callbacks of the world, so that they can be built in this order.
        self.gateway: GatewayProcess = GatewayProcess(
            self.schedule,
            self.terminal,
            f"gateway{plan.seed:x}",
            self.struck,
            self._arrived,
            self._replied,
            hints_every_ms=HINTS_EVERY_MS if plan.setting.hints else 0,
            pins_account=plan.setting.pins_account,
            proves=plan.setting.proves,
        )
        self.network: Network = Network(
            self.schedule, plan.chance("network"), self.gateway.serve, self.struck
        )
        self.gateway.network = self.network
        self.gateway.on_reading = self._served
        self.disk: Disk = Disk(self._recorder.journal, self.struck)
        self._make_strategy = make_strategy
        self._market = plan.chance("market")
        self._retells = plan.chance("retells")
        self._market_is_open = True
        self._is_over = False
        self._faults_end_ns = 0
        self.loss_is_unasked: bool = False
        """A journal was put back, and no trusted sync has shown the missing rows yet."""
        self.restarts_bots: bool = False
        """The journal's file was moved under the bots, and a person restarts the bots later."""
        self.set_back_sec = 0
        """The total time by which the clocks of bots were set back."""
        self.traders: list[Wanderer] = []
        self.bots: list[BotProcess] = []
        self.policy: Policy = self._policy()
        self._add_bot()

    def _terminal(self) -> HonestTerminal:
        setting = self.plan.setting
        netting = mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING
        hedging = mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING
        account = AccountSetup(margin_mode=netting if setting.netting else hedging)
        broker = TellingBroker(
            told=self._executed,
            accounts=(account, AccountSetup(login=OTHER_LOGIN)),
            symbols=_symbols(setting),
            now_msc=lambda: self.schedule.now_ns // MS,
            switches=Switches(
                server_offset_minutes=setting.offset_minutes,
                exchange_answers_placed=self.plan.chance("exchange answers").random() < 0.5,
            ),
        )
        _trade_elsewhere(broker)
        return HonestTerminal(broker=broker, rng=self.plan.chance("terminal"))

    def _policy(self) -> Policy:
        symbols = frozenset({SYMBOL})
        if self.plan.setting.owns_next_contract:
            symbols |= {NEXT_CONTRACT}
        asks = self.plan.setting.asks
        terms: dict[str, Any] = {"grace_period_ms": GRACE_SEC * 1_000}
        if asks:
            terms[asks] = Action.ASK
        if not self.plan.setting.owns_magic:
            return Policy(symbols=symbols, **terms)
        return Policy(symbols=symbols, magics=frozenset({MAGIC}), adopt=Adopt.OURS, **terms)

    @property
    def scope(self) -> facts.Scope:
        """The account, and the positions and orders that the bots may act on."""
        setting = self.plan.setting
        return facts.Scope(
            self.ledger.setup.login,
            # The bots' symbol is theirs under its next name too.
            self.policy.symbols.union(NAMES),
            self.policy.magics,
            SEES_LATE_NS,
            netting=self.ledger.setup.margin_mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
            proves=setting.proves,
            asks=setting.asks,
        )

    # The parts.

    @property
    def now_ns(self) -> int:
        """The world's time."""
        return self.schedule.now_ns

    @property
    def ledger(self) -> Ledger:
        """The broker's truth about the bots' account."""
        return self.terminal.ledger

    @property
    def bot(self) -> BotProcess:
        """The newest bot, which faults of a bot strike."""
        return self.bots[-1]

    @property
    def is_coarse(self) -> bool:
        """Whether the volume step is a tenth of a lot."""
        return self._is_coarse

    @is_coarse.setter
    def is_coarse(self, is_coarse: bool) -> None:
        self._is_coarse = is_coarse
        for trader in self.traders:
            trader.lots_unit = self.lots_unit

    @property
    def lots_unit(self) -> float:
        """The volume step of orders."""
        if self._is_coarse:
            return COARSE_LOTS
        return FINE_LOTS if self.plan.setting.is_fine else EURUSD.volume_min

    def somebody(self, reason: int, magic: int = 0) -> Person:
        """Return a person or a program at the bots' account that is not a bot of the world."""
        return Somebody(self.terminal.broker, self.terminal.home_login, reason, magic)

    def _add_bot(self) -> BotProcess:
        # Each bot has a trader of its own, who outlives the bot's processes.
        name = "AB"[len(self.bots)]
        trader = Wanderer(self.plan, name, MAGIC)
        trader.lots_unit = self.lots_unit
        self.traders.append(trader)
        bot = BotProcess(
            name,
            self.plan,
            self.policy,
            self.schedule,
            self.network,
            self.disk,
            trader,
            self._make_strategy,
            self.observe,
            self._recorder.start,
        )
        self.bots.append(bot)
        return bot

    def start_another(self, *, take_over: bool) -> BotProcess | None:
        """Start a second bot on the same account; a later start restarts the same second bot.

        Return the bot, or None if the second bot runs already.
        """
        other = self.bots[1] if len(self.bots) > 1 else self._add_bot()
        if other.is_running():
            return None
        other.start(take_over=take_over)
        if other.was_refused:
            # The first bot is the newest again. A bot that died after its start restarts as usual.
            self.bots.remove(other)
            self.traders.pop()
        return other

    # The run.

    def run(self) -> None:
        """Run the whole plan.

        Raises:
            Endless: the run had too many events.
            OutOfTouch: a bot does not sync by itself.
            Stuck: a bot cannot trade, although nothing prevents trading.
        """
        self.begin()
        # A strike may prolong the faults, so the end is read again after each run of the queue.
        for one in self.plan.strikes:
            at_ns = BEGIN_NS + one.at_ms * MS
            self.schedule.at(at_ns, lambda one=one: strike(self, one))  # type: ignore[misc]
        self.faults_last_until(BEGIN_NS + self.plan.safety_ms * MS)
        while self.now_ns < self._faults_end_ns:
            self.schedule.run(self._faults_end_ns)
        self.finish()

    @property
    def may_be_prolonged(self) -> bool:
        """Whether no strike has prolonged the faults yet."""
        return self._faults_end_ns <= BEGIN_NS + self.plan.safety_ms * MS

    def faults_last_until(self, at_ns: int) -> None:
        """Let the faults stop no sooner than at a time."""
        self._faults_end_ns = max(at_ns, self._faults_end_ns)

    def begin(self) -> None:
        """Let the market move and the bot start; `schedule.run` lets time pass."""
        self.observe(facts.Began(self.now_ns, self.plan.setting.sentence(MAGIC)))
        self.schedule.after(0, self._quote)
        self.schedule.after(10, self.bot.start)
        if self.plan.setting.asks:
            self.schedule.after(APPROVES_EVERY_MS, self._approve)
        if self.plan.setting.at_exchange:
            supplies = self.plan.chance("exchange")
            self.schedule.after(20, lambda: supply_few_lots(self, supplies))
        if self.plan.setting.asks == "protection":
            self.schedule.after(MOVES_STOPS_AFTER_MS, self._move_stops)

    def finish(self) -> None:
        """End all faults, let the books come to agree, and end the run."""
        self._heal()
        idle = self._look_by_themselves()
        self._come_to_agree()
        self._show_books()
        self.observe(facts.Agreed(self.now_ns))
        stuck = self._trade_again()
        self._end()
        self._encore()
        # Raise only now, because the judges of the books may have found the cause.
        for said in idle:
            raise OutOfTouch(said)
        for said in stuck:
            raise Stuck(f"after all that was needed to agree, {said}")

    def _heal(self) -> None:
        """End all faults, and all acts of the market, of traders and of people."""
        self._market_is_open, self.is_healed = False, True
        for trader in self.traders:
            trader.is_quiet = True
        self.network.heal()
        self.disk.heal()
        self._heal_terminal()
        self.gateway.heal()
        self.start_anew()
        for bot in self.bots:
            bot.retells = self._retells
            bot.doom = bot.meanwhile = bot.interrupted = None
            bot.sleep_until(0)
        self.observe(facts.Healed(self.now_ns))

    def _heal_terminal(self) -> None:
        terminal, switches = self.terminal, self.terminal.switches
        terminal.faults.clear()
        switches.position_lag_ms = switches.order_lag_ms = 0
        switches.deal_lag_ms = switches.order_history_lag_ms = 0
        switches.unsynchronised_list = ListAnswer.EMPTY
        terminal.reconnect()
        terminal.running = True
        terminal.investor = terminal.python_trading_disabled = False
        terminal.algo_trading = True
        own_account(self)
        usual(self)
        take_usual_name(self)
        terminal.broker.supply(SYMBOL, None)
        allow_trading(self)

    def _look_by_themselves(self) -> list[str]:
        """Let each bot's own loop sync with the broker, before any sync on request.

        Return a sentence for each bot that does not sync.
        """
        for bot in self.bots:
            bot.owes_own_sync = True
        until_ns = self.now_ns + OWN_SYNC_WITHIN_SEC * SECOND
        self.schedule.run(until_ns, lambda: not self._owing())
        return [
            f"{bot.name} did not look at the broker by itself within {OWN_SYNC_WITHIN_SEC} s "
            "after the faults had ended"
            for bot in self._owing()
        ]

    def _owing(self) -> list[BotProcess]:
        """Return the bots that have not synced by themselves yet; a fenced bot need not."""
        return [bot for bot in self.bots if bot.owes_own_sync and bot is self.disk.holder]

    def _come_to_agree(self) -> None:
        healed_ns = self.now_ns
        for seconds in SYNCS_AFTER_SEC:
            self.schedule.run(healed_ns + seconds * SECOND)
            self._sync()
            if seconds >= NOTHING_ON_ITS_WAY_SEC:
                for bot in self.bots:
                    self._say_whose(bot)
        if self.set_back_sec:
            self._wait_for_the_clock()

    def _trade_again(self) -> list[str]:
        """Let each bot close its positions and open a new position, as proof that trading works.

        Return a sentence for each failure.
        """
        if self.plan.setting.trades_by_signal:
            # A run with a strategy contains only the trades of that strategy.
            return []
        said = [one for bot in self.bots if bot is self.disk.holder for one in bot.trade()]
        self.schedule.run(self.now_ns + TRADES_SHOW_SEC * SECOND)
        self._sync()
        return said

    def _wait_for_the_clock(self) -> None:
        """Wait for the time by which a bot's clock was set back, and sync again.

        Until then the age of an earlier order in doubt is unknown.
        """
        self._is_over = True
        for bot in self.bots:
            bot.rests = True
        self.schedule.run(self.now_ns + self.set_back_sec * SECOND)
        self.move_market(0.0)
        self._sync()
        self._sync()

    def _sync(self) -> None:
        for bot in self.bots:
            bot.sync()
            bot.hear_again()
            self._look_into(bot)
        self.accept_losses()

    def _look_into(self, bot: BotProcess) -> None:
        """Act as the person of case L, who gives up positions that the broker deleted."""
        if bot.pm is None or bot.reconciler is None:
            return
        for hold in bot.reconciler.holds:
            held = bot.pm.book.holdings.get(hold.identifier)
            if hold.identifier not in self.struck_out:
                continue
            is_looked_for = hold.kind in (HoldKind.HALT, HoldKind.MISSING)
            if is_looked_for and hold.identifier in bot.pm.book.missing and held:
                identifier = hold.identifier
                self.observe(facts.Forced(self.now_ns, bot.name, identifier))
                # A journal that refuses is asked again after the next sync.
                with contextlib.suppress(JournalError):
                    bot.pm.force_close_position(held.position.ticket)

    def _say_whose(self, bot: BotProcess) -> None:
        """Act as the person who asks the broker about an order in doubt and resolves the doubt.

        That happens if a hold asks for a person, and if the broker deleted the position of an order
        that a journal had lost: the order was executed, and no record will ever show that.
        """
        # The person knows only the broker's true answer.
        if bot.pm is None or bot.reconciler is None:
            return
        asked = [one.reason for one in bot.reconciler.holds if one.kind is HoldKind.DOUBT]
        for order in list(bot.pm.book.in_doubt.values()):
            is_struck_out = self._done.get(order.token) in self.struck_out
            is_asked = any(f"({order.order_id})" in said and CALLS in said for said in asked)
            if not is_asked and not is_struck_out:
                continue
            told = self.true_answer(order.token) | {"order_id": order.order_id}
            with contextlib.suppress(JournalError):
                bot.pm.on_fill(told)

    def true_answer(self, token: str) -> dict[str, Any]:
        """Return the trade server's true outcome of an order."""
        ticket = self._done.get(token, 0)
        if not ticket:
            return {"status": "CANCELED", "error": "the broker never had it"}
        order = self.ledger.orders.get(ticket) or self.ledger.order_history[ticket]
        if order.is_pending:
            return {"status": "PLACED", "ticket": ticket}
        # The order and not its deals, because the server may have deleted deals since.
        lots = self.ledger.lots(self.symbol, order.steps_initial - order.steps_current)
        if not lots:
            return {"status": "CANCELED", "error": "the broker cancelled it"}
        price = order.price_done
        deals = [deal for deal in self.ledger.deals.values() if deal.order == ticket]
        if len(deals) > 1:
            # At an exchange an order is filled in parts, each at a price of its own.
            steps = sum(deal.steps for deal in deals)
            price = round(sum(deal.price * deal.steps for deal in deals) / steps, 8)
        filled = {"filled_price": price, "filled_volume": lots}
        return {"status": "FILLED", "ticket": ticket, **filled}

    def _end(self) -> None:
        self._show_books()
        self.observe(facts.Ended(self.now_ns, owed=True))

    def _encore(self) -> None:
        """Try what may still be done with the journal and the record, now that the run is over."""
        fact = another_end(self.disk, self.now_ns)
        if fact is not None:
            self.observe(fact)
        if self.plan.seed % READS_BY_TIME_EVERY == 0:
            self.observe(read_by_time(self.disk, self.now_ns))
        if not self.plan.setting.proves:
            # The guide's wire has no keys and no tokens.
            return
        order = {"symbol": self.symbol, "volume": self.lots_unit, "magic": MAGIC}
        encore = Encore(self.gateway, order, self.now_ns)
        self.observe(encore.use_a_key_again())
        self.observe(encore.come_as_a_former_writer())
        self.observe(encore.fill_without_a_price())
        self.observe(encore.list_twice())
        told = [answered_oddly(bot) for bot in self.bots if bot is self.disk.holder]
        for one in (encore.ask_another_record(), *told):
            if one is not None:
                self.observe(one)

    def _show_books(self) -> None:
        """Record the books of the bots that live and act.

        A fenced bot that has not noticed yet does not act, so its book need not agree.
        """
        for bot in self.bots:
            if bot.pm is not None and bot is self.disk.holder:
                self.observe(book_seen(bot.pm, self.now_ns, bot.name, with_results=True))

    # The market.

    def _quote(self) -> None:
        if self._is_over:
            return
        if self._market_is_open:
            step = self._market.choice((-0.0003, -0.0001, 0.0, 0.0001, 0.0003))
            self.move_market(step, said=False)
        else:
            self.move_market(0.0, said=False)
        wait_ms = self.plan.setting.quote_every_ms * (0.5 + self._market.random())
        self.schedule.after(wait_ms, self._quote)

    def move_market(self, step: float, *, said: bool = True) -> None:
        """Move the price; stops, pending orders and stop outs follow."""
        lowest, highest = LOWEST * self.price_scale, HIGHEST * self.price_scale
        self.bid = round(min(highest, max(lowest, self.bid + step)), 5)
        before = len(self.ledger.deals)
        self.terminal.quote(self.symbol, self.bid, round(self.bid + SPREAD, 5))
        if len(self.ledger.deals) > before and not said:
            self.observe(facts.Traded(self.now_ns, f"the market at {self.bid} set off orders"))

    def scale_prices(self, ratio: float) -> None:
        """Move the price by the ratio of a split."""
        self.price_scale *= ratio
        self.bid = round(self.bid * ratio, 5)
        self.move_market(0.0)

    # Changes of positions.

    def held_before(self, identifier: int) -> Position | None:
        """Return the state of a position before its last change."""
        changes = self._changes[identifier]
        return changes[-2][1] if len(changes) > 1 else None

    def changed_last_by(self, identifier: int) -> int:
        """Return the deal that made only the last change of a position; else 0."""
        changes = self._changes.get(identifier, [])
        deals = [deal for deal, _ in changes[-2:]]
        return deals[-1] if deals and deals.count(deals[-1]) == 1 else 0

    # Facts.

    def observe(self, fact: facts.Fact) -> None:
        """Give a fact to all watchers."""
        if type(fact) is facts.Synced and fact.believed:
            self.loss_is_unasked = False
        self._recorder.tell(fact)

    def struck(self, fault: Fault, text: str, order_id: str = "", *, number: int = 0) -> None:
        """Record that a fault struck, with the affected order and the strike's number, if known."""
        said = f"{fault.value}: {text}" if text else fault.value
        self.observe(
            facts.Faulted(
                self.now_ns,
                kind=fault.name,
                what=said,
                order_id=order_id,
                numbers=(number,) if number else self._begun(fault),
            )
        )

    def _begun(self, fault: Fault) -> tuple[int, ...]:
        """Return the numbers of all strikes of a kind up to now."""
        passed_ms = (self.now_ns - BEGIN_NS) / MS
        strikes = self.plan.strikes
        return tuple(s.number for s in strikes if s.fault is fault and s.at_ms <= passed_ms)

    def _met(self, fault: Fault) -> None:
        """Record a habit of the broker at its first effect."""
        text = self.awaited.pop(fault, None)
        if text is not None and self._market_is_open:
            self.struck(fault, text)

    def _changed(self, channel: Channel, key: int, record: object) -> None:
        """Note the new state of a position, and record habits that make a change show late."""
        # The history of a position tells later strikes which deal can be cancelled.
        if channel is Channel.POSITION:
            position = record if isinstance(record, Position) else None
            newest = next(reversed(self.ledger.deals), 0)
            self._changes.setdefault(key, []).append((newest, position))
        # A habit has an effect only on a terminal that shows the bots' account.
        terminal = self.terminal
        is_shown = terminal.current_login == terminal.home_login and terminal.view.is_synchronised
        if not self.awaited or not is_shown:
            return
        switches = terminal.switches
        if channel is Channel.POSITION and switches.position_lag_ms:
            self._met(Fault.LATE_POSITIONS)
            self._met(Fault.LATE_POSITIONS_UNPROVEN)
        elif channel is Channel.DEAL and switches.deal_lag_ms:
            self._met(Fault.LATE_DEALS)
        elif (channel is Channel.ORDER and switches.order_lag_ms) or (
            channel is Channel.ORDER_HISTORY and switches.order_history_lag_ms
        ):
            self._met(Fault.LATE_ORDERS)

    def _commented(self, asked: str, order: int) -> None:
        """Record a habit if the broker changed the comment of an order."""
        kept = self.ledger.orders.get(order) or self.ledger.order_history.get(order)
        if kept is None or kept.comment == asked:
            return
        switches = self.terminal.switches
        if switches.comment_prefix or switches.comment_replaced_by is not None:
            self._met(Fault.COMMENT_REWRITTEN)
        if len(kept.comment) == switches.comment_characters_max:
            self._met(Fault.COMMENT_CUT)

    def lose_power(self) -> None:
        """Let the bots' machine lose all data without a sync."""
        self.disk.lose_power()
        rows = self.disk.rows()
        position = rows[-1].position if rows else 0
        self.observe(facts.JournalLost(self.now_ns, position))

    def put_journal_back(self, copy: JournalCopy, *, with_note: bool) -> None:
        """Replace the journal by an earlier copy, while no bot runs."""
        self.disk.put_in_place(copy, with_note=with_note)
        rows = self.disk.rows()
        position = rows[-1].position if rows else 0
        self.loss_is_unasked = True
        self.observe(facts.JournalLost(self.now_ns, position, put_back=True))

    def start_anew(self) -> None:
        """Restart each bot, if the file that the bots have open is no longer the journal."""
        is_due, self.restarts_bots = self.restarts_bots, False
        for bot in self.bots if is_due else ():
            bot.kill(100)

    def _move_stops(self) -> None:
        """Move the stops of a position by hand, as soon as there is one."""
        if self.is_healed:
            return
        moved = ""
        with contextlib.suppress(Refusal):
            moved = moves_stops(self, self.plan.chance("moves stops"))
        if moved:
            self.observe(facts.Traded(self.now_ns, f"somebody moves the stops of {moved}"))
        else:
            self.schedule.after(MOVES_STOPS_AFTER_MS, self._move_stops)

    def _approve(self) -> None:
        """Act as the person who approves held corrections from time to time."""
        for bot in self.bots:
            for hold in () if bot.reconciler is None else bot.reconciler.holds:
                if hold.kind is HoldKind.ASK and bot.reconciler is not None:
                    bot.reconciler.approve(hold.id)
                    self.observe(facts.Approved(self.now_ns, bot.name, hold.identifier))
        self.schedule.after(APPROVES_EVERY_MS, self._approve)

    def accept_losses(self) -> None:
        """Act as the person who has checked the account, and accepts the losses of journals."""
        for reconciler in (bot.reconciler for bot in self.bots):
            for hold in () if reconciler is None else reconciler.holds:
                if hold.kind is HoldKind.LOSS and reconciler is not None:
                    reconciler.approve(hold.id)

    def _arrived(self, message: bytes, gateway: str) -> None:
        self.observe(facts.Arrived(self.now_ns, gateway, message))

    def _replied(self, message: bytes, gateway: str) -> None:
        self.observe(facts.Replied(self.now_ns, gateway, message))

    def _served(self, message: bytes, reply: bytes) -> None:
        """Record the true state of the terminal when a reading was served."""
        # No fault alters the terminal's own view, so the judges can compare with these values.
        told, terminal = msgspec.json.decode(reply), self.terminal
        view, figures = terminal.view, terminal.view.figures()
        listed, orders = view.listed(), view.listed_orders()
        # A cent may be the rounding of figures.
        has_some = abs(figures.profit) > 1.5 * CENT or (figures.margin > 0 and not view.orders)
        self.observe(
            facts.Served(
                self.now_ns,
                reading=(_session_in(message).session, told["epoch"], told["sequence"]),
                login=terminal.current_login,
                says_connected=view.shows_connected,
                catches_up=view.catches_up,
                rows=(
                    *((row.ticket, row.volume) for row in listed),
                    *((row.ticket, row.volume_current) for row in orders),
                ),
                digest=told["digest"],
                server_time_msc=told.get("server_time_msc", 0),
                contradicts=not listed and has_some,
                outages=terminal.outages,
                fits=_fits(told, (len(listed), len(orders)), figures.profit),
            )
        )

    def _executed(self, login: int, request: TradeRequest, outcome: Outcome) -> None:
        # Requests of bots are found again by the token in their comment.
        if login == self.ledger.setup.login and outcome.order:
            self._done.setdefault(request.comment, outcome.order)
            self._commented(request.comment, outcome.order)
        order = self.ledger.orders.get(outcome.order) or self.ledger.order_history.get(
            outcome.order
        )
        units = self._recorder.books.units
        self.observe(
            facts.Requested(
                self.now_ns,
                login=login,
                action=request.action,
                symbol=request.symbol,
                buys=order is not None and order.type in BUYING_TYPES,
                units=0 if order is None else units(order.symbol, order.steps_initial),
                magic=request.magic,
                comment=request.comment,
                done=outcome.retcode in DONE,
                retcode=outcome.retcode,
                order=outcome.order,
                position=request.position,
                sl=request.sl,
                tp=request.tp,
            )
        )


class HonestTerminal(SimulatedTerminal):
    """A terminal that counts its reports of a lost link."""

    outages: int = 0
    _has_link = True

    def terminal_info(self) -> TerminalInfo | None:
        """Return the terminal's report about itself."""
        told = super().terminal_info()
        if told is not None:
            self.outages += self._has_link and not told.connected
            self._has_link = told.connected
        return told


class Somebody(Person):
    """A person or a program past the terminal under test, whose requests are not the bots'."""

    def request(self, **fields: Any) -> Outcome:
        """Send any trade request."""
        broker = self.broker
        assert isinstance(broker, TellingBroker)
        broker.is_quiet = True
        try:
            return super().request(**fields)
        finally:
            broker.is_quiet = False


class _Asked(msgspec.Struct):
    """The session of a question. Other parts may be damaged, if the gateway does not read them."""

    session: str = ""


_session_in = msgspec.json.Decoder(_Asked).decode


def _fits(told: dict[str, Any], counts: tuple[int, int], profit: float) -> bool:
    """Return whether the lists in a reply have these lengths, and results that come to `profit`."""
    rows = told.get("positions", ())
    said = tuple(told.get("counts") or (len(rows), len(told.get("orders", ()))))
    results = (row.get(name) or 0.0 for row in rows for name in ("profit", "swap"))
    floating = told.get("floating", sum(results))
    # Each position and the account are rounded to a cent once.
    return said == counts and abs(floating - profit) < CENT * (counts[0] + 1.5)


def _trade_elsewhere(broker: TellingBroker) -> None:
    """Give the other account a history, and positions that look like the bots' positions.

    An empty account could not mislead a bot.
    """
    robot = Somebody(broker, OTHER_LOGIN, mt5.ORDER_REASON_EXPERT, MAGIC)
    unit = broker.market.setups[SYMBOL].volume_min
    for side, units in ((mt5.ORDER_TYPE_BUY, 3), (mt5.ORDER_TYPE_SELL, 2)):
        lots = round(units * unit, 3)
        robot.open(SYMBOL, side, lots)
        robot.close(robot.open(SYMBOL, side, lots))


def _symbols(setting: Setting) -> Sequence[SymbolSetup]:
    changes: dict[str, Any] = {}
    if setting.commission:
        charges = {"commission_per_lot": 3.5, "commission_charged": Charged.AT_BOTH}
        changes |= {**charges, "fee_per_lot": 0.25}
    if setting.is_coarse:
        changes |= {"order_steps": COARSE_STEPS, "volume_min": COARSE_LOTS}
    elif setting.is_fine:
        changes |= {"volume_step": FINE_LOTS, "volume_min": FINE_LOTS}
    if setting.at_exchange:
        changes["execution"] = mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE
    if setting.fills_in_part:
        changes["filling_mode"] = mt5.SYMBOL_FILLING_IOC
    traded = dataclasses.replace(EURUSD, **changes)
    next_contract = dataclasses.replace(traded, name=NEXT_CONTRACT, bid=1.2, ask=1.2001)
    others = tuple(one for one in DEFAULT_SYMBOLS if one.name != SYMBOL)
    return (traded, *others, next_contract)
