"""Look at the broker: ask, judge the answer, think it through, ask again where that needs deals.

A look is one or two questions. The second one asks for the deals of what seems to have changed, and
brings a whole new snapshot with them, so that a plan never mixes two moments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import msgspec

from trueup.core.account.meant import Meant
from trueup.core.account.trust import Reason, Trusted, Unknown
from trueup.core.look.absence import NONE_ABSENT, Absences
from trueup.core.look.inputs import SyncInputs, Told
from trueup.core.look.settle_window import Settling
from trueup.core.model import Position, Snapshot
from trueup.core.policy import Policy
from trueup.core.sync.plan import Plan, is_settled, knows_account, plan
from trueup.errors import JournalError
from trueup.gateway.client.listing import Own
from trueup.gateway.client.reader import Question, Reading
from trueup.logs import Logger, logger
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.neighbours import OwnScope
from trueup.runtime.sync.recall import Recall
from trueup.runtime.sync.rechecks import Rechecks
from trueup.runtime.sync.sources import Source
from trueup.runtime.sync.witness import Witness
from trueup.runtime.time.clock import Moment, moment

log: Logger = logger("trueup.reconciler")

# A question about deals may lead to another: an order says which position it went into, whose deals
# are asked for then, and those may say that it was opened again as another.
FOLLOW_UPS_MOST = 5
# A history that is wanted since some moment is longer by the time that a question takes; what was
# asked for has far more to spare.
HISTORY_GROWS_SEC = 60
# How old prices and profits may get while nothing else changes: the default interval of syncs.
PRICES_AGE_SEC = 15
# Two clocks are read one after the other; a machine that slept was away for longer than that.
SLEPT_NS = 1_000_000_000
SLEPT = "This machine slept, or stood still, while the broker was asked"


class Asked(msgspec.Struct, frozen=True):
    """What the broker was asked, when, at which version of the book, and as which question.

    `follow_ups` is how many questions of the same look came before it.
    """

    at: Moment
    version: int
    question: Question
    number: int
    follow_ups: int = 0

    @property
    def is_follow_up(self) -> bool:
        """Whether it asks for deals or for the end of orders."""
        question = self.question
        return bool(question.explain or question.explain_orders or question.history_age_sec)


class Observation(msgspec.Struct, frozen=True):
    """A reading, judged, and the plan that was made by it.

    `inputs` are what the plan was made from, None where the reading is not believed.
    """

    asked: Asked
    verdict: Trusted | Unknown
    plan: Plan = Plan()
    inputs: SyncInputs | None = None

    @property
    def follow_up(self) -> Question | None:
        """What to ask before the plan is final, or None."""
        if isinstance(self.verdict, Unknown) or self.verdict.snapshot.evidence is None:
            return None
        before, wanted = self.asked.question, self.plan
        deals = (*before.explain, *wanted.questions, *wanted.rechecks)
        explain = tuple(dict.fromkeys(deals))
        is_new = (
            len(explain) > len(before.explain)
            or not {*wanted.order_questions} <= {*before.explain_orders}
            or wanted.history_age_sec > before.history_age_sec + HISTORY_GROWS_SEC
        )
        if not is_new or self.asked.follow_ups >= FOLLOW_UPS_MOST:
            return None
        # All of it, for an answer is a whole new reading: a plan never mixes two moments.
        return Question(
            before.symbols,
            explain,
            tuple(dict.fromkeys((*before.explain_orders, *wanted.order_questions))),
            max(before.history_age_sec, wanted.history_age_sec),
            wanted.in_doubt,
        )


class _Agreed(msgspec.Struct, frozen=True):
    """A book and a list of the broker's that agreed, and how much of the list was foreign."""

    version: int
    positions: Sequence[Position]
    foreign: int


class Lookout:
    """Looks at the broker for one book, waiting for the answer or not.

    `settling` is what the latest looks taught, `absences` what they have shown nothing of since
    when, `approved` who said yes to which hold, `told` what was said of which order in doubt.
    """

    def __init__(
        self, pm: PortfolioManager, source: Source, policy: Policy, meant: Meant | None = None
    ) -> None:
        self.policy = policy
        self.meant: Meant = meant or Meant()
        self.settling: Settling = Settling(policy.settle_ms)
        self.approved: dict[str, str] = {}
        self.told: dict[str, Told] = {}
        self._pm, self._source = pm, source
        self._scope = OwnScope(pm, policy)
        self._question = Question(symbols=policy.named_symbols)
        # How many messages the question under way has taken, and when (ns) the last of them left.
        self._sent = self._sent_ns = 0
        self._witness = Witness(self.meant)
        self._under_way: Asked | None = None
        self._newest_believed = 0
        # The symbols that the book held at a version of it.
        self._held: tuple[int, tuple[str, ...]] = (-1, ())
        self.absences: Absences = NONE_ABSENT
        # The clock for ages when prices were asked for last, None before.
        self._prices_ns: int | None = None
        # How many questions had been asked when something was said of an order in doubt.
        self._told_at: dict[str, int] = {}
        self._rechecks = Rechecks()
        self._recall = Recall(pm)
        self._agreed: _Agreed | None = None
        self._count = 0

    @property
    def is_under_way(self) -> bool:
        """Whether a question has been asked whose answer is not there yet."""
        return self._under_way is not None

    def look(self) -> Observation:
        """Observation now, and wait for the answers."""
        look = self._look_once(self._question)
        while look.follow_up is not None:
            look = self._look_once(look.follow_up, look.asked.follow_ups + 1)
        return look

    def peek(self) -> Reading:
        """Ask once and judge nothing."""
        self._witness.asked()
        return self._source.read()

    def begin(self) -> None:
        """Begin to look; never waits."""
        due_ns = (self._prices_ns or 0) + PRICES_AGE_SEC * 1_000_000_000
        wants_prices = self._prices_ns is None or self._pm.clock.age_ns() >= due_ns
        self._ask(msgspec.structs.replace(self._question, prices=wants_prices))

    def poll(self) -> Observation | None:
        """Return the look under way if it is complete; never waits.

        A look that was overtaken by a newer one, which was believed meanwhile, is dropped. Where
        the machine slept meanwhile, the question is asked again: what comes may be of before.
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
            if self._sent != self._source.messages_sent:
                self._sent = self._source.messages_sent
                self._sent_ns = self._pm.clock.waiting_ns()
            if self._pm.clock.waiting_ns() - self._sent_ns < self._source.timeout_ns:
                return None
            reading = self._source.give_up()
        self._under_way = None
        if asked.number < self._newest_believed:
            return None
        look = self._consider(reading, asked)
        if look.follow_up is not None:
            self._ask(look.follow_up, look.asked.follow_ups + 1)
            return None
        return look

    def believed(self, look: Observation) -> None:
        """Note that a look was acted on: what was asked for before it is overtaken."""
        self._newest_believed = look.asked.number
        self._rechecks.done(look.asked.question.explain, look.asked.at.age_ns)
        if isinstance(look.verdict, Trusted):
            self._recall.believed(look.asked.question.book, look.verdict.snapshot.evidence)
            self._rechecks.believed(self._pm.book, look.verdict.snapshot)

    def recheck(self, identifiers: Iterable[int]) -> None:
        """Compare the deals of these positions with the broker's at the next look.

        What is missing in the book, or was changed since, is counted then, by the ordinary rule.
        """
        self._rechecks.suspect(identifiers)

    def tell(self, order_id: str, told: Told) -> None:
        """Note what a person says of an order in doubt; it counts for one more believed reading."""
        self.told[order_id], self._told_at[order_id] = told, self._count

    def forget_told(self, asked: Asked) -> None:
        """Forget what was said before a reading was asked for that was believed."""
        in_doubt, said_at = self._pm.book.in_doubt, self._told_at
        kept = [key for key in self.told if key in in_doubt and said_at[key] >= asked.number]
        self.told = {key: self.told[key] for key in kept}
        self._told_at = {key: said_at[key] for key in kept}

    def forget(self) -> None:
        """Forget what earlier readings of this gateway said."""
        self._witness = Witness(self.meant)
        self._recall = Recall(self._pm)

    def _asked_now(self, question: Question, follow_ups: int) -> Asked:
        # While the journal refuses them, `StateReconciler` decides nothing.
        with contextlib.suppress(JournalError):
            self._pm.desk.record_owed()
        self._witness.asked()
        self._count += 1
        own, book, scope = self._own(), self._recall.question(), self._scope.on_wire
        if (question.own, question.book, question.scope) != (own, book, scope):
            question = msgspec.structs.replace(question, own=own, book=book, scope=scope)
        at, version = moment(self._pm.clock), self._pm.book.version
        return Asked(at, version, question, self._count, follow_ups)

    def _has_slept_since(self, asked: Asked) -> bool:
        """Return whether the machine slept, or was paused, since a question was asked."""
        return asked.at.slept_ns(moment(self._pm.clock)) > SLEPT_NS

    def _own(self) -> Own:
        """Return what a gateway of the guide is asked for where its list seems to be empty."""
        book = self._pm.book
        if book.bound is not None:
            # Only what proves itself is believed.
            return Own(self.policy.named_symbols)
        if self._held[0] != book.version:
            held = sorted({holding.position.symbol for holding in book.holdings.values()})
            self._held = book.version, tuple(held)
        return Own(self.policy.named_symbols, self._held[1])

    def _ask(self, question: Question, follow_ups: int = 0) -> None:
        asked = self._under_way = self._asked_now(question, follow_ups)
        self._source.ask(asked.question)
        self._sent, self._sent_ns = self._source.messages_sent, asked.at.waiting_ns

    def _look_once(self, question: Question, follow_ups: int = 0) -> Observation:
        asked = self._asked_now(question, follow_ups)
        reading = self._source.read(asked.question)
        if self._has_slept_since(asked):
            # A second time is a machine that does little else: what came is then not believed.
            log.info("[SYNC] %s; asking again", SLEPT)
            asked = self._asked_now(question, follow_ups)
            reading = self._source.read(asked.question)
            if self._has_slept_since(asked):
                reading = Unknown(Reason.OFFLINE, SLEPT, "a question that it is awake for")
        return self._consider(reading, asked)

    def _consider(self, reading: Reading, asked: Asked) -> Observation:
        verdict = self._witness.judge(reading, self._pm.book.bound)
        if isinstance(verdict, Unknown):
            self.absences = NONE_ABSENT
            return Observation(asked, verdict)
        snapshot, book, agreed = verdict.snapshot, self._pm.book, self._agreed
        if snapshot.evidence is None or snapshot.evidence.floating is None:
            self._prices_ns = asked.at.age_ns
        inputs = self._inputs(snapshot, asked)
        if (
            inputs.lost is None
            and not inputs.rechecks
            and agreed is not None
            and self._still_agrees(agreed, snapshot, asked)
        ):
            return Observation(asked, verdict, Plan(foreign=agreed.foreign), inputs)
        found = plan(inputs)
        if asked.question.history_age_sec or snapshot.evidence is None:
            self.absences = dict(found.absences)
        self._agreed = None
        is_quiet = found == Plan(foreign=found.foreign) and is_settled(book, self.policy)
        if is_quiet and asked.version == book.version:
            self._agreed = _Agreed(book.version, snapshot.positions, found.foreign)
        return Observation(asked, verdict, found, inputs)

    def _inputs(self, snapshot: Snapshot, asked: Asked) -> SyncInputs:
        """Return everything that a plan by this reading may depend on."""
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
            told=self.told,
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
