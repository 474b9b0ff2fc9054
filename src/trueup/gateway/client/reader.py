"""Ask a gateway for the broker's positions, with or without waiting.

The first question is always the guide's GET_POSITIONS, to the letter. If the reply says that the
gateway serves SNAPSHOT, that is used from then on. Any other gateway is asked only for its
positions; `gateway.client.listing` has the forms of that question.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.gateway_record import BookAsked, RecordMark, RequestInDoubt
from trueup.core.model import Snapshot, UnknownSymbol
from trueup.core.scope import Scope
from trueup.errors import NotSent, Obstructed, OutcomeUnknown
from trueup.gateway.client.link import Link
from trueup.gateway.client.listing import NOTHING_OWN, Forms, Own, Steps, ask_for_list
from trueup.protocol import guide
from trueup.protocol.hints import hints_port
from trueup.protocol.snapshot import (
    HISTORY_LONGEST_SEC,
    NAMED_AT_ONCE,
    SnapshotRequest,
    decode_snapshot,
    encode_snapshot_request,
)

Reading = Snapshot | Unknown
Named = TypeVar("Named")


class Question(msgspec.Struct, frozen=True):
    """The contents of a question besides the positions; see `SnapshotRequest`.

    Attributes:
        prices: if False, the positions' prices and profits may be those of an earlier answer: a
            gateway that finds nothing else changed then replies only that.
        own: the symbols of the book, for a gateway of the guide.
        book: asks a gateway with a record which orders of that book it has.
        scope: tells a gateway of ours which book asks, and which positions that book counts as its
            own.
    """

    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    prices: bool = True
    own: Own = NOTHING_OWN
    book: BookAsked | None = None
    scope: Scope | None = None


PLAIN = Question()


class _QuestionUnderWay:
    """A question under way, with its steps on the guide's wire."""

    def __init__(self, question: Question, forms: Forms) -> None:
        self.question = question
        self._steps: Steps = ask_for_list(forms, question.own)
        self.message = next(self._steps)

    def take(self, answer: Reading) -> Reading | None:
        """Return the reading that the answer completes, or None if `message` must be sent."""
        try:
            self.message = self._steps.send(answer)
        except StopIteration as end:
            reading: Reading = end.value
            return reading
        return None


class Reader:
    """Reads the positions of one gateway.

    Args:
        link: a connection for this reader alone.
        name: the gateway's name in error texts.
        timeout_ms: how long to wait for a connection, and for a reply.
        session: this client's name, unique among all clients.

    Attributes:
        keeps_record: whether the gateway is known to keep a record of requests.
        record: the mark of that record at the latest snapshot, or None.
        time_offset_sec: the trade server's clock minus UTC, by the latest fresh quotation; None
            before.
        messages_sent: a counter; a question may need several messages, each with its own timeout.
    """

    def __init__(self, link: Link, name: str, timeout_ms: int, session: str) -> None:
        self._link = link
        self._name = name
        self._timeout_ms = timeout_ms
        self._session = session
        self.record: RecordMark | None = None
        self.time_offset_sec: int | None = None
        self._serves_snapshots = False
        self.claim: str = ""
        """The name of the claim that each question renews; empty for none."""
        self.fence: tuple[str, int] = ("", 0)
        """The journal and the fencing token that each question carries."""
        self.keeps_record: bool = False
        self._id = 0
        self.forms: Forms = Forms()
        """How a gateway of the guide understands a question for its positions."""
        self.messages_sent: int = 0
        self._question = _QuestionUnderWay(PLAIN, self.forms)
        self._wanted_id: int | None = None
        self._has_left = False
        self._answer: Reading | None = None
        self.capabilities: tuple[str, ...] = ()
        """The capabilities that the gateway announced, if it serves SNAPSHOT."""
        self.hints_port: int = 0
        """The gateway's hint port, 0 for none."""
        # Why the question under way gets no connection, if the gateway gave a reason.
        self._obstacle = ""
        self.digest: str = ""
        """The digest in the gateway's latest reply, empty before the first."""
        # The latest full snapshot, and the symbols that its question named.
        self._known: Snapshot | None = None
        self._epoch = ""
        self._known_symbols: tuple[str, ...] = ()
        # The symbols in the question under way; the unknown symbols of all questions.
        self._asked_symbols: tuple[str, ...] = ()
        self._unknown_symbols: tuple[UnknownSymbol, ...] = ()

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer, at most the timeout for each step.

        If a question of `ask` is under way, its answer is awaited first and kept for `poll`.
        """
        if self._has_left:
            answer, self._has_left = self._wait(), False
            # If this answer completes no reading, `poll` continues that question.
            self._answer = self._taken(answer)
        kept, self._question = self._question, _QuestionUnderWay(question, self.forms)
        reading = self._exchange()
        while reading is None:
            reading = self._exchange()
        self._question = kept
        return reading

    def _exchange(self) -> Reading | None:
        """Send a message and wait for its answer; return None if the reading needs another."""
        try:
            self._link.send(self._message(), self._timeout_ms)
        except NotSent as error:
            return self._offline(str(error))
        self.messages_sent += 1
        return self._taken(self._wait())

    def _taken(self, answer: Reading) -> Reading | None:
        """Return the reading that an answer completes, or None if another message is needed."""
        if self._wanted_id is not None:
            return answer
        return None if self._is_invitation(answer) else self._question.take(answer)

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""
        self.give_up()
        self._question = _QuestionUnderWay(question, self.forms)
        self._try_to_send()

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if it has arrived; never waits."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return answer
        if not self._has_left:
            # There was no connection at the last attempt.
            self._try_to_send()
            return None
        try:
            reply = self._link.receive(0)
        except OutcomeUnknown as error:
            self._has_left = False
            return self._offline(str(error))
        if reply is None:
            return None
        self._has_left = False
        reading = self._taken(self._decode(reply))
        # The gateway has to be asked in another form, or for a snapshot.
        if reading is None:
            self._try_to_send()
        return reading

    def give_up(self) -> Unknown:
        """Give up the question under way; its answer cannot be taken for a later one's."""
        problem = "gave no reply" if self._has_left else "took no connection"
        offline = self._offline(
            self._obstacle or f"{self._name} {problem} within {self._timeout_ms} ms"
        )
        if self._has_left:
            self._leave()
            self._taken(offline)
        self._has_left, self._answer, self._obstacle = False, None, ""
        return offline

    def _leave(self) -> None:
        """Drop the connection; another gateway may answer on the next."""
        self._link.reset()
        self.forms.forget_rows()

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._has_left, self._answer = False, None
        self.forms = Forms()
        self._link.close()

    def _message(self) -> bytes:
        self._wanted_id = None
        if not self._serves_snapshots:
            return self._question.message
        self._id += 1
        self._wanted_id = self._id
        question = self._question.question
        # Ask for changes only relative to a snapshot of the same symbols.
        known = self._known if self._known_symbols == question.symbols else None
        self._asked_symbols = self._some(question.symbols)
        return encode_snapshot_request(
            SnapshotRequest(
                session=self._session,
                id=self._id,
                symbols=self._asked_symbols,
                explain=self._some(question.explain),
                explain_orders=self._some(question.explain_orders),
                history_age_sec=min(question.history_age_sec, HISTORY_LONGEST_SEC),
                in_doubt=self._some(question.in_doubt) if self.keeps_record else (),
                digest="" if known is None or question.prices else known.digest,
                book=question.book if "BOOK" in self.capabilities else None,
                scope=question.scope,
                claim=self.claim,
                journal=self.fence[0],
                token=self.fence[1] if self.fence[0] else 0,
            )
        )

    def _some(self, named: tuple[Named, ...]) -> tuple[Named, ...]:
        """Return as many items as a question may name; in rotation, so that each gets its turn."""
        if len(named) <= NAMED_AT_ONCE:
            return named
        begin = self._id * NAMED_AT_ONCE % len(named)
        return (*named[begin:], *named[:begin])[:NAMED_AT_ONCE]

    def _try_to_send(self) -> None:
        try:
            self._link.send(self._message(), 0)
        except Obstructed as error:
            self._obstacle = str(error)
            return
        except NotSent:
            return
        self.messages_sent += 1
        self._has_left, self._obstacle = True, ""

    def _wait(self) -> Reading:
        try:
            reply = self._link.receive(self._timeout_ms)
        except OutcomeUnknown as error:
            return self._offline(str(error))
        if reply is None:
            self._leave()
            return self._offline(f"{self._name} gave no reply within {self._timeout_ms} ms")
        return self._decode(reply)

    def _decode(self, reply: bytes) -> Reading:
        if self._wanted_id is None:
            return guide.decode_positions(reply)
        answer = decode_snapshot(reply, self._wanted_id, self._known)
        if isinstance(answer, Unknown):
            self._serves_snapshots = answer.reason is not Reason.NO_EVIDENCE
        else:
            answer = self._with_all_unknown(answer)
            self._keep(answer)
        return answer

    def _with_all_unknown(self, answer: Snapshot) -> Snapshot:
        """Return the snapshot with unknown symbols of earlier questions that this did not name."""
        evidence, asked = answer.evidence, self._question.question.symbols
        if evidence is None or evidence.floating is not None:
            return answer
        if len(asked) > len(self._asked_symbols):
            named = {*self._asked_symbols, *(found.symbol for found in evidence.unknown_symbols)}
            kept = [found for found in self._unknown_symbols if found.symbol not in named]
            unknown = (*evidence.unknown_symbols, *kept)
            evidence = msgspec.structs.replace(evidence, unknown_symbols=unknown)
            answer = msgspec.structs.replace(answer, evidence=evidence)
        self._unknown_symbols = evidence.unknown_symbols
        return answer

    def _keep(self, answer: Snapshot) -> None:
        assert answer.evidence is not None
        self.digest = answer.evidence.digest
        # UNCHANGED replies have no mark of the record.
        self.record = answer.evidence.record or self.record
        if answer.evidence.time_offset_sec is not None:
            self.time_offset_sec = answer.evidence.time_offset_sec
        epoch, self._epoch = self._epoch, answer.evidence.epoch
        if epoch not in ("", self._epoch):
            # The gateway was restarted and may be another release: ask for its capabilities first.
            self._serves_snapshots = False
        if answer.evidence.floating is None:
            # Never keep a list with faults: a later UNCHANGED would not repeat the faults.
            self._known = None if answer.faults else answer
            self._known_symbols = self._question.question.symbols

    def _is_invitation(self, answer: Reading) -> bool:
        """Return whether the reply says that the gateway serves SNAPSHOT; note its capabilities."""
        if not isinstance(answer, Snapshot) or "SNAPSHOT" not in answer.capabilities:
            return False
        self._serves_snapshots = True
        self.capabilities = answer.capabilities
        self.hints_port = hints_port(answer.capabilities)
        self.keeps_record = "REQUEST_STATUS" in answer.capabilities
        return True

    def _offline(self, reason: str) -> Unknown:
        return Unknown(Reason.OFFLINE, f"Gateway offline - {reason}")
