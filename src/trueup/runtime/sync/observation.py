"""Observe the broker: ask, judge the reading, make a plan, and ask again if the plan needs deals.

An observation takes one question or more. A further question asks for the deals of the positions
that seem to have changed, and brings a whole new snapshot with them, so that a plan never mixes two
moments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import msgspec

from trueup.core.account.intended_account import IntendedAccount
from trueup.core.account.trust import Reason, Trusted, Unknown
from trueup.core.look.absence import NONE_ABSENT, Absences
from trueup.core.look.inputs import Statement, SyncInputs
from trueup.core.look.settle_window import SettleWindow
from trueup.core.model import Position, Snapshot
from trueup.core.policy import Policy
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.sync.plan import Plan, is_settled, knows_account, plan
from trueup.errors import JournalError
from trueup.gateway.client.listing import Own
from trueup.gateway.client.reader import Question, Reading
from trueup.logs import Logger, logger
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.neighbours import OwnScope
from trueup.runtime.sync.reading_judge import ReadingJudge
from trueup.runtime.sync.recall import Recall
from trueup.runtime.sync.rechecks import Rechecks
from trueup.runtime.sync.sources import Source
from trueup.runtime.time.clock import Moment, moment, slept_since_ns

log: Logger = logger("trueup.reconciler")

# A question about deals may lead to more: an order names its position, the deals of that position
# are asked for next, and these deals may name the position that replaced it.
FOLLOW_UPS_MOST = 5
# The wanted history begins at a fixed moment, so it grows while a question is under way. Growth up
# to this limit needs no new question: each question asks for far more.
HISTORY_GROWS_SEC = 60
# The greatest age of prices and profits while nothing else changes: the default sync interval.
PRICES_AGE_SEC = 15
# A difference between two clocks below this is the time between their two readings, not sleep.
SLEPT_NS = 1_000_000_000
SLEPT = "This machine slept, or stood still, while the broker was asked"


class Asked(msgspec.Struct, frozen=True):
    """One question to the broker, with its time, its number and the book's version at that time.

    `follow_ups` counts the earlier questions of the same observation.
    """

    at: Moment
    version: int
    question: Question
    number: int
    follow_ups: int = 0

    @property
    def is_follow_up(self) -> bool:
        """Whether the question asks for deals or for the end of orders."""
        question = self.question
        return bool(question.explain or question.explain_orders or question.history_age_sec)


class Observation(msgspec.Struct, frozen=True):
    """A judged reading, and the plan made from the reading.

    `inputs` are the inputs of the plan, None if the reading is not believed.
    """

    asked: Asked
    verdict: Trusted | Unknown
    plan: Plan = Plan()
    inputs: SyncInputs | None = None

    @property
    def follow_up(self) -> Question | None:
        """The question to ask before the plan is final, or None."""
        if not isinstance(self.verdict, Trusted) or self.verdict.snapshot.evidence is None:
            return None
        before, wanted = self.asked.question, self.plan
        deals = (*before.explain, *wanted.questions, *wanted.rechecks)
        explain = tuple(dict.fromkeys(deals))
        # Ask again only for something that the question before did not ask for: otherwise a broker
        # that never answers it would be asked without end.
        is_new = (
            len(explain) > len(before.explain)
            or not {*wanted.order_questions} <= {*before.explain_orders}
            or wanted.history_age_sec > before.history_age_sec + HISTORY_GROWS_SEC
        )
        if not is_new or self.asked.follow_ups >= FOLLOW_UPS_MOST:
            return None
        # Ask for everything again, because the answer is a whole new reading: a plan never mixes
        # two moments.
        return Question(
            before.symbols,
            explain,
            tuple(dict.fromkeys((*before.explain_orders, *wanted.order_questions))),
            max(before.history_age_sec, wanted.history_age_sec),
            wanted.in_doubt,
        )


class _Agreed(msgspec.Struct, frozen=True):
    """A version of the book and a list of the broker's that agreed.

    `foreign` counts the foreign positions in the list.
    """

    version: int
    positions: Sequence[Position]
    foreign: int


class BrokerObserver:
    """Observes the broker for one book, with or without waiting for the answer.

    `settling` has the learned settle window. `absences` has the orders that earlier readings did
    not contain, and since when. `approved` maps the id of an approved hold to the name of the
    person. `statements` has what persons stated about orders in doubt, by order id.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        source: Source,
        policy: Policy,
        intended: IntendedAccount | None = None,
    ) -> None:
        self.policy = policy
        self.intended: IntendedAccount = intended or IntendedAccount()
        self.settling: SettleWindow = SettleWindow(policy.settle_ms)
        self.approved: dict[str, str] = {}
        self.statements: dict[str, Statement] = {}
        self._pm, self._source = pm, source
        self._scope = OwnScope(pm, policy)
        self._question = Question(symbols=policy.named_symbols)
        # The number of messages sent when the current question's latest message left, and that time
        # (ns).
        self._sent = self._sent_ns = 0
        self._judge = ReadingJudge(self.intended)
        self._under_way: Asked | None = None
        self._newest_believed = 0
        # A version of the book, and the symbols of its positions at that version.
        self._held: tuple[int, tuple[str, ...]] = (-1, ())
        self.absences: Absences = NONE_ABSENT
        # The time of the last question for prices (ns, clock for ages), None before the first.
        self._prices_ns: int | None = None
        # By order id: the number of questions asked before the statement was made.
        self._stated_at: dict[str, int] = {}
        self._rechecks = Rechecks()
        self._recall = Recall(pm)
        self._agreed: _Agreed | None = None
        self._count = 0

    @property
    def is_under_way(self) -> bool:
        """Whether a question is waiting for its answer."""
        return self._under_way is not None

    def observe(self) -> Observation:
        """Observe now, and wait for the answers."""
        observation = self._observe_once(self._question)
        while observation.follow_up is not None:
            observation = self._observe_once(
                observation.follow_up, observation.asked.follow_ups + 1
            )
        return observation

    def peek(self) -> Reading:
        """Ask once, and return the reading without judging it."""
        self._judge.asked()
        return self._source.read()

    def begin(self, *, with_prices: bool = False) -> None:
        """Begin an observation; never waits.

        An unchanged list comes without prices, so ask for prices after `PRICES_AGE_SEC`, or with
        `with_prices` in any case.
        """
        due_ns = (self._prices_ns or 0) + PRICES_AGE_SEC * 1_000_000_000
        is_due = self._prices_ns is None or self._pm.clock.age_ns() >= due_ns
        wants_prices = with_prices or is_due
        self._ask(msgspec.structs.replace(self._question, prices=wants_prices))

    def poll(self) -> Observation | None:
        """Return the current observation if it is complete; never waits.

        An observation is dropped if a later one was believed meanwhile. If the machine slept
        meanwhile, the question is asked again, because the answer may be from before the sleep.
        """
        asked = self._under_way
        if asked is None:
            return None
        if self._has_slept_since(asked):
            log.info("[SYNC] %s; asking again", SLEPT)
            self._source.give_up()
            self.begin()
            return None
        reading = self._source.poll()
        if reading is None:
            # One question may take several messages, such as pages. The timeout applies to each
            # message, so it starts again when the next message leaves.
            if self._sent != self._source.messages_sent:
                self._sent = self._source.messages_sent
                self._sent_ns = self._pm.clock.waiting_ns()
            if self._pm.clock.waiting_ns() - self._sent_ns < self._source.timeout_ns:
                return None
            reading = self._source.give_up()
        self._under_way = None
        # A later question was answered and acted on meanwhile; this answer shows an older state.
        if asked.number < self._newest_believed:
            return None
        observation = self._consider(reading, asked)
        if observation.follow_up is not None:
            self._ask(observation.follow_up, observation.asked.follow_ups + 1)
            return None
        return observation

    def believed(self, observation: Observation) -> None:
        """Note that an observation was acted on.

        Answers to earlier questions are dropped from now on.
        """
        self._newest_believed = observation.asked.number
        self._rechecks.done(observation.asked.question.explain, observation.asked.at.age_ns)
        if isinstance(observation.verdict, Trusted):
            self._recall.believed(
                observation.asked.question.book, observation.verdict.snapshot.evidence
            )
            self._rechecks.believed(self._pm.book, observation.verdict.snapshot)

    def recheck(self, identifiers: Iterable[int]) -> None:
        """Compare the deals of these positions with the broker's at the next observation.

        Deals that are missing in the book or have changed are then counted by the ordinary rule.
        """
        self._rechecks.suspect(identifiers)

    def note_statement(self, order_id: str, statement: Statement) -> None:
        """Note a statement about an order in doubt, for the next believed reading."""
        self.statements[order_id] = statement
        self._stated_at[order_id] = self._count

    def forget_statements(self, asked: Asked) -> None:
        """Drop the statements that a believed reading has used.

        A reading uses only statements that were made before the reading was asked for.
        """
        if not self.statements:
            return
        in_doubt, stated_at = self._pm.book.in_doubt, self._stated_at
        kept = [
            key for key in self.statements if key in in_doubt and stated_at[key] >= asked.number
        ]
        self.statements = {key: self.statements[key] for key in kept}
        self._stated_at = {key: stated_at[key] for key in kept}

    def forget(self) -> None:
        """Forget the earlier readings of this gateway."""
        self._judge = ReadingJudge(self.intended)
        self._recall = Recall(self._pm)

    def _asked_now(self, question: Question, follow_ups: int) -> Asked:
        # The reading may show these orders, so the book must have their outcomes first. If the
        # journal refuses, `StateReconciler` applies no plan.
        with contextlib.suppress(JournalError):
            self._pm.desk.record_owed()
        self._judge.asked()
        self._count += 1
        own, book, scope = self._own(), self._recall.question(), self._scope.on_wire
        symbols = self._symbols()
        now = (question.own, question.book, question.scope, question.symbols)
        if now != (own, book, scope, symbols):
            is_usual = question is self._question
            question = msgspec.structs.replace(
                question, own=own, book=book, scope=scope, symbols=symbols
            )
            if is_usual:
                # The next question probably has the same.
                self._question = question
        at, version = moment(self._pm.clock), self._pm.book.version
        return Asked(at, version, question, self._count, follow_ups)

    def _has_slept_since(self, asked: Asked) -> bool:
        """Return whether the machine slept, or was paused, since a question was asked."""
        return slept_since_ns(asked.at, self._pm.clock) > SLEPT_NS

    def _symbols(self) -> tuple[str, ...]:
        """Return the symbols to ask about: those of the policy, or those of orders in doubt.

        A policy of every symbol names none. Without a symbol and without a position, the gateway
        has no quotation to tell the trade server's time from, and so no history of an order.
        """
        named = self.policy.named_symbols
        if not self.policy.covers_all or not self._pm.book.in_doubt:
            return named
        doubtful = {order.symbol for order in self._pm.book.in_doubt.values()} - {EVERY_SYMBOL}
        return tuple(sorted({*named, *doubtful}))

    def _own(self) -> Own:
        """Return the symbols to ask a gateway of the guide for when its list seems to be empty."""
        book = self._pm.book
        if book.bound is not None:
            # A bound book believes only readings with evidence, so the held symbols are not needed.
            return Own(self.policy.named_symbols)
        if self._held[0] != book.version:
            held = sorted({holding.position.symbol for holding in book.holdings.values()})
            self._held = book.version, tuple(held)
        return Own(self.policy.named_symbols, self._held[1])

    def _ask(self, question: Question, follow_ups: int = 0) -> None:
        asked = self._under_way = self._asked_now(question, follow_ups)
        self._source.ask(asked.question)
        self._sent, self._sent_ns = self._source.messages_sent, asked.at.waiting_ns

    def _observe_once(self, question: Question, follow_ups: int = 0) -> Observation:
        asked = self._asked_now(question, follow_ups)
        reading = self._source.read(asked.question)
        if self._has_slept_since(asked):
            # Ask once more. After a second sleep the answer is not believed, rather than ask for
            # ever on a machine that sleeps most of the time.
            log.info("[SYNC] %s; asking again", SLEPT)
            asked = self._asked_now(question, follow_ups)
            reading = self._source.read(asked.question)
            if self._has_slept_since(asked):
                reading = Unknown(Reason.OFFLINE, SLEPT, "a question that it is awake for")
        return self._consider(reading, asked)

    def _consider(self, reading: Reading, asked: Asked) -> Observation:
        verdict = self._judge.judge(reading, self._pm.book.bound)
        if not isinstance(verdict, Trusted):
            # A gap in the readings: an order that is absent before and after it may have been there
            # between.
            self.absences = NONE_ABSENT
            return Observation(asked, verdict)
        snapshot, book, agreed = verdict.snapshot, self._pm.book, self._agreed
        if snapshot.evidence is None or snapshot.evidence.floating is None:
            # A reply that the positions are unchanged (`floating` is set) has no new prices.
            self._prices_ns = asked.at.age_ns
        inputs = self._inputs(snapshot, asked)
        # Skip the plan while nothing changed: most readings equal the reading before, and the plan
        # is the most expensive step.
        if (
            inputs.lost is None
            and not inputs.rechecks
            and agreed is not None
            and self._still_agrees(agreed, snapshot, asked)
        ):
            return Observation(asked, verdict, Plan(foreign=agreed.foreign), inputs)
        found = plan(inputs)
        # Absence is judged by the history, so only a reading that brought the history updates it.
        # The guide's wire has no history, and its list has to do.
        if asked.question.history_age_sec or snapshot.evidence is None:
            self.absences = dict(found.absences)
        self._agreed = None
        is_quiet = found == Plan(foreign=found.foreign) and is_settled(book, self.policy)
        # Remember the agreement only if the book did not change while the question was under way.
        if is_quiet and asked.version == book.version:
            self._agreed = _Agreed(book.version, snapshot.positions, found.foreign)
        return Observation(asked, verdict, found, inputs)

    def _inputs(self, snapshot: Snapshot, asked: Asked) -> SyncInputs:
        """Return all inputs of the plan that this reading leads to."""
        book, waited = self._pm.book, self._pm.times.at(asked.at)
        return SyncInputs(
            book=book,
            snapshot=snapshot,
            policy=self.policy,
            asked_version=asked.version,
            asked_ns=asked.at.date_ns,
            now_ns=self._pm.clock.now_ns(),
            waited=waited,
            settle_ms=0 if self._source.lists_at_once else self.settling.window_ms,
            approved=self.approved,
            is_final=asked.is_follow_up,
            absences=self.absences,
            told=self.statements,
            rechecks=self._rechecks.due(book, snapshot, waited),
            has_asked_history=bool(asked.question.history_age_sec),
            lost=self._recall.lost(asked.question.book, snapshot.evidence),
        )

    def _still_agrees(self, agreed: _Agreed, snapshot: Snapshot, asked: Asked) -> bool:
        """Return whether neither the book nor the broker's list changed since they agreed."""
        book = self._pm.book
        is_same_book = asked.version == book.version == agreed.version
        is_same_list = snapshot.positions is agreed.positions
        return is_same_book and is_same_list and knows_account(book, snapshot)
