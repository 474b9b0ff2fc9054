"""The judge of a run of the simulated fleet; it shares nothing with what it judges.

It reads the facts alone: the server's commits, the gateways' replies, the broker's executions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from trueup.lab.facts.facts import Fact, Violation
from trueup.lab.fleet import facts

AGREEMENT, AT_MOST_ONCE, NO_LOST_INTENT, ONE_WRITER = 1, 2, 4, 9
# A broken run can break a promise at every step; the first ones say all.
VIOLATIONS_KEPT = 100
INTENT = "OrderCreated"
# Lots closer than this are equal.
SMALL_LOTS = 1e-6

Step = Callable[[Any], Iterator[str]]
_read: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


class OneOwner:
    """No shard is taken from a living node: by the server's clock, at the time of the look."""

    number = ONE_WRITER

    def __init__(self) -> None:
        # By node and process: the heartbeats, as the world's time, the server's and the lease.
        self._beats: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
        # By shard: its owner, and since when in the world's time.
        self._owners: dict[int, tuple[tuple[str, str], int]] = {}
        self._gone: set[tuple[str, str]] = set()

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {
            facts.Beat: self._beat,
            facts.Claimed: self._claimed,
            facts.GivenBack: self._given_back,
            facts.NodeGone: self._left,
        }

    def _beat(self, fact: facts.Beat) -> Iterator[str]:
        self._beats[fact.node, fact.run].append((fact.at_ns, fact.server_ns, fact.lease_ns))
        self._gone.discard((fact.node, fact.run))
        yield from ()

    def _claimed(self, fact: facts.Claimed) -> Iterator[str]:
        owner, since_ns = self._owners.get(fact.shard, (None, 0))
        self._owners[fact.shard] = (fact.node, fact.run), fact.at_ns
        if owner is None or owner in self._gone:
            return
        if since_ns > fact.looked_ns:
            yield f"{fact.node} claimed shard {fact.shard}, which {owner[0]} had claimed meanwhile"
        elif self._was_alive(owner, fact):
            yield f"{fact.node} claimed shard {fact.shard} of {owner[0]}, which was alive"

    def _was_alive(self, owner: tuple[str, str], fact: facts.Claimed) -> bool:
        before = [one for one in self._beats[owner] if one[0] <= fact.looked_ns]
        return bool(before) and before[-1][1] >= fact.server_ns - before[-1][2]

    def _given_back(self, fact: facts.GivenBack) -> Iterator[str]:
        if self._owners.get(fact.shard, (None, 0))[0] == (fact.node, fact.run):
            del self._owners[fact.shard]
        yield from ()

    def _left(self, fact: facts.NodeGone) -> Iterator[str]:
        self._gone.add((fact.node, fact.run))
        yield from ()


class WritersFollowClaims:
    """Who becomes the writer of an account has its shard, by the newest claim."""

    number = ONE_WRITER

    def __init__(self) -> None:
        self._claims: dict[int, tuple[str, str, int] | None] = {}
        self._tokens: dict[str, int] = {}

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {
            facts.Claimed: self._claimed,
            facts.GivenBack: self._given_back,
            facts.WriterMade: self._made,
            facts.Appended: self._appended,
        }

    def _claimed(self, fact: facts.Claimed) -> Iterator[str]:
        self._claims[fact.shard] = fact.node, fact.run, fact.epoch
        yield from ()

    def _given_back(self, fact: facts.GivenBack) -> Iterator[str]:
        claim = self._claims.get(fact.shard)
        if claim is not None and claim[:2] == (fact.node, fact.run):
            self._claims[fact.shard] = None
        yield from ()

    def _made(self, fact: facts.WriterMade) -> Iterator[str]:
        if self._claims.get(fact.shard) != (fact.node, fact.run, fact.epoch):
            yield (
                f"{fact.node} became the writer of {fact.account} by claim {fact.epoch} of shard "
                f"{fact.shard}, which is not the newest"
            )
        if fact.token <= self._tokens.get(fact.account, 0):
            yield f"{fact.node} writes {fact.account} under token {fact.token}, which is not newer"
        self._tokens[fact.account] = fact.token

    def _appended(self, fact: facts.Appended) -> Iterator[str]:
        newest = self._tokens.get(fact.account, 0)
        if fact.token != newest:
            yield (
                f"{fact.node} appended to the journal of {fact.account} under token {fact.token}, "
                f"and the writer has {newest}"
            )


class NothingOlder:
    """Nothing is executed for a former writer, once a newer one has read the account.

    A gateway that records fencing tokens answers no former writer either.
    """

    number = ONE_WRITER

    def __init__(self) -> None:
        self._token_of: dict[str, int] = {}
        # By account: the newest token that has read, and that was granted.
        self._newest: dict[str, int] = defaultdict(int)
        self._granted: dict[str, int] = defaultdict(int)

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {
            facts.WriterMade: self._made,
            facts.Granted: self._seen,
            facts.ReadBy: self._read,
            facts.Executed: self._executed,
        }

    def _made(self, fact: facts.WriterMade) -> Iterator[str]:
        self._token_of[fact.opening] = fact.token
        yield from ()

    def _seen(self, fact: facts.Granted | facts.ReadBy) -> Iterator[str]:
        newest = self._granted[fact.account]
        if fact.token < newest:
            yield (
                f"the gateway of {fact.account} answered token {fact.token} after it had granted "
                f"{newest}"
            )
        self._granted[fact.account] = max(newest, fact.token)

    def _read(self, fact: facts.ReadBy) -> Iterator[str]:
        if fact.token:
            yield from self._seen(fact)
        # The first reading of an opening is only for the name of the account.
        token = self._token_of.get(fact.opening, 0)
        self._newest[fact.account] = max(self._newest[fact.account], token)

    def _executed(self, fact: facts.Executed) -> Iterator[str]:
        account, token = fact.account, self._token_of.get(fact.opening, 0)
        newest = max(self._newest[account], self._granted[account])
        if token < newest:
            yield (
                f"order {fact.mark} of {account} was executed for the writer with token {token}, "
                f"after the one with {newest} had come"
            )


class OncePerIntent:
    """Each execution has an intent in the journal, and each intent and key one execution."""

    number = AT_MOST_ONCE

    def __init__(self) -> None:
        self._key_of: dict[tuple[str, str], str] = {}
        self._executed_marks: Counter[tuple[str, str]] = Counter()
        self._executed_keys: Counter[tuple[str, str]] = Counter()

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {facts.Appended: self._appended, facts.Executed: self._executed}

    def _appended(self, fact: facts.Appended) -> Iterator[str]:
        for row in fact.rows:
            if row.kind == INTENT:
                intent = _read(row.payload)
                self._key_of[fact.account, intent["token"]] = intent.get("key", "")
        yield from ()

    def _executed(self, fact: facts.Executed) -> Iterator[str]:
        mark = fact.account, fact.mark
        self._executed_marks[mark] += 1
        if self._executed_marks[mark] > 1:
            yield f"order {fact.mark} of {fact.account} was executed twice"
        key = fact.account, self._key_of.get(mark, "")
        self._executed_keys[key] += 1
        if key[1] and self._executed_keys[key] > 1:
            yield f"the intent {key[1]!r} of {fact.account} was executed twice"


class NothingUnrecorded:
    """Each execution has its intent in the journal before."""

    number = NO_LOST_INTENT

    def __init__(self) -> None:
        self._marks: set[tuple[str, str]] = set()

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {facts.Appended: self._appended, facts.Executed: self._executed}

    def _appended(self, fact: facts.Appended) -> Iterator[str]:
        intents = [_read(row.payload) for row in fact.rows if row.kind == INTENT]
        self._marks |= {(fact.account, intent["token"]) for intent in intents}
        yield from ()

    def _executed(self, fact: facts.Executed) -> Iterator[str]:
        if (fact.account, fact.mark) not in self._marks:
            yield f"order {fact.mark} of {fact.account} was executed, and no journal has it"


class RestsAfterwards:
    """After the faults each account is at one node, whose book is the broker's."""

    number = AGREEMENT

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return the facts to judge, each with its step."""
        return {facts.BookRead: self._read, facts.FleetEnded: self._ended}

    def _read(self, fact: facts.BookRead) -> Iterator[str]:
        if len(fact.nodes) != 1:
            yield f"{fact.account} is run by {len(fact.nodes)} nodes at the end"
        elif fact.doubts:
            yield f"{fact.account} has orders in doubt at the end: {', '.join(fact.doubts)}"
        elif not _are_equal(dict(fact.book), dict(fact.broker)):
            yield f"{fact.account} has {fact.book} in the book, and the broker {fact.broker}"

    def _ended(self, fact: facts.FleetEnded) -> Iterator[str]:
        yield from fact.late


def _are_equal(book: Mapping[int, float], broker: Mapping[int, float]) -> bool:
    return book.keys() == broker.keys() and all(
        abs(lots - broker[identifier]) < SMALL_LOTS for identifier, lots in book.items()
    )


CHECKERS = (
    OneOwner,
    WritersFollowClaims,
    NothingOlder,
    OncePerIntent,
    NothingUnrecorded,
    RestsAfterwards,
)


class FleetJudge:
    """Judges a run; a watcher."""

    def __init__(self) -> None:
        self._steps: dict[type[Fact], list[tuple[int, Step]]] = defaultdict(list)
        for made in (kind() for kind in CHECKERS):
            for fact, step in made.steps().items():
                self._steps[fact].append((made.number, step))
        self._violations: list[Violation] = []

    def observe(self, fact: Fact) -> None:
        """Judge a fact."""
        for number, step in self._steps.get(type(fact), ()):
            for sentence in step(fact):
                if len(self._violations) < VIOLATIONS_KEPT:
                    self._violations.append(Violation(number, sentence, fact.at_ns))

    def verdicts(self) -> list[Violation]:
        """Return the promises broken so far, the earliest first."""
        return list(self._violations)
