"""Ask a gateway what the broker has, waiting for the answer or not.

The first question is always the guide's GET_POSITIONS, to the letter. A gateway of ours says in its
reply that it serves SNAPSHOT, and is asked for that from then on; any other gateway is never sent a
request that it may not know.
"""

from __future__ import annotations

import msgspec

from trueup.core.model import Snapshot
from trueup.core.record import RecordMark, RequestInDoubt
from trueup.core.trust import Reason, Unknown
from trueup.errors import NotAllowed, NotSent, OutcomeUnknown
from trueup.gateway.link import Link
from trueup.protocol import guide
from trueup.protocol.hints import hints_port
from trueup.protocol.snapshot import SnapshotRequest, decode_snapshot, encode_snapshot_request

Reading = Snapshot | Unknown


class Question(msgspec.Struct, frozen=True):
    """What to ask for beside the positions; see `SnapshotRequest`.

    With `prices` false the positions' current prices and profits may be those of the last answer
    that had any: a gateway that finds nothing else changed then says just that.
    """

    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    prices: bool = True


PLAIN = Question()


class Reader:
    """The readings of one gateway.

    Args:
        link: a connection that nobody else uses.
        timeout_ms: how long to wait for a connection, and for a reply.
        session: this client's own name for itself, told by nobody else.

    `keeps_record` says whether the gateway is known to keep a record of requests, and `record` how
    far that reached at the latest snapshot, or None. `time_offset_sec` is what the trade server's
    clock was apart from UTC when a fresh quotation told it last, None before.
    """

    def __init__(self, link: Link, name: str, timeout_ms: int, session: str) -> None:
        self._link = link
        self._name = name
        self._timeout_ms = timeout_ms
        self._session = session
        self.record: RecordMark | None = None
        self.time_offset_sec: int | None = None
        self._serves_snapshots = self.keeps_record = False
        self._id = 0
        self._question = PLAIN
        self._wanted_id: int | None = None
        self._has_left = False
        self._answer: Reading | None = None
        self.hints_port = 0
        """Where the gateway says that its hints are, 0 for nowhere."""
        # Why the question under way finds no connection, where the gateway said so.
        self._obstacle = ""
        self.digest = ""
        """What the gateway said last that positions and orders come to, empty before the first."""
        # The last snapshot that came in full, and the symbols that were asked for with it.
        self._known: Snapshot | None = None
        self._epoch = ""
        self._known_symbols: tuple[str, ...] = ()

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer, at most the timeout for each step.

        A question of `ask` that is under way is waited for first, and its answer kept for `poll`.
        """
        if self._has_left:
            answer, self._has_left = self._wait(), False
            # An invitation is no reading: `poll` then asks again, for a snapshot.
            self._answer = None if self._is_invitation(answer) else answer
        kept, self._question = self._question, question
        try:
            self._link.send(self._message(), self._timeout_ms)
            answer = self._wait()
            if self._is_invitation(answer):
                self._link.send(self._message(), self._timeout_ms)
                answer = self._wait()
        except NotSent as error:
            answer = self._offline(str(error))
        self._question = kept
        return answer

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""
        self.give_up()
        self._question = question
        self._try_to_send()

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if it is there; never waits."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return answer
        if not self._has_left:
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
        answer = self._decode(reply)
        if self._is_invitation(answer):
            self._try_to_send()
            return None
        return answer

    def give_up(self) -> Unknown:
        """Leave the question under way, so that its answer is never taken for another's."""
        what = "gave no reply" if self._has_left else "took no connection"
        if self._has_left:
            self._link.reset()
        what = self._obstacle or f"{self._name} {what} within {self._timeout_ms} ms"
        self._has_left, self._answer, self._obstacle = False, None, ""
        return self._offline(what)

    def close(self) -> None:
        """Let go of the connection; the next question opens it again."""
        self._has_left, self._answer = False, None
        self._link.close()

    def _message(self) -> bytes:
        self._wanted_id = None
        if not self._serves_snapshots:
            return guide.GET_POSITIONS
        self._id += 1
        self._wanted_id = self._id
        question = self._question
        known = self._known if self._known_symbols == question.symbols else None
        return encode_snapshot_request(
            SnapshotRequest(
                session=self._session,
                id=self._id,
                symbols=question.symbols,
                explain=question.explain,
                explain_orders=question.explain_orders,
                history_age_sec=question.history_age_sec,
                in_doubt=question.in_doubt if self.keeps_record else (),
                digest="" if known is None or question.prices else known.digest,
            )
        )

    def _try_to_send(self) -> None:
        try:
            self._link.send(self._message(), 0)
        except NotAllowed as error:
            self._obstacle = str(error)
            return
        except NotSent:
            return
        self._has_left, self._obstacle = True, ""

    def _wait(self) -> Reading:
        try:
            reply = self._link.receive(self._timeout_ms)
        except OutcomeUnknown as error:
            return self._offline(str(error))
        if reply is None:
            self._link.reset()
            return self._offline(f"{self._name} gave no reply within {self._timeout_ms} ms")
        return self._decode(reply)

    def _decode(self, reply: bytes) -> Reading:
        if self._wanted_id is None:
            return guide.decode_positions(reply)
        answer = decode_snapshot(reply, self._wanted_id, self._known)
        if isinstance(answer, Unknown):
            self._serves_snapshots = answer.reason is not Reason.NO_EVIDENCE
        else:
            self._keep(answer)
        return answer

    def _keep(self, answer: Snapshot) -> None:
        assert answer.evidence is not None
        self.digest = answer.evidence.digest
        # A reply that says only that nothing changed leaves it out.
        self.record = answer.evidence.record or self.record
        if answer.evidence.time_offset_sec is not None:
            self.time_offset_sec = answer.evidence.time_offset_sec
        epoch, self._epoch = self._epoch, answer.evidence.epoch
        if epoch not in ("", self._epoch):
            # Another run of the gateway, which may be able to do other things: ask it first.
            self._serves_snapshots = False
        if answer.evidence.floating is None:
            # A list with faults is nothing to build on: what is unchanged since tells none of them.
            self._known = None if answer.faults else answer
            self._known_symbols = self._question.symbols

    def _is_invitation(self, answer: Reading) -> bool:
        """Return whether a guide's reply says that more can be asked for, and note it."""
        if not isinstance(answer, Snapshot) or "SNAPSHOT" not in answer.capabilities:
            return False
        self._serves_snapshots = True
        self.hints_port = hints_port(answer.capabilities)
        self.keeps_record = "REQUEST_STATUS" in answer.capabilities
        return True

    def _offline(self, what: str) -> Unknown:
        return Unknown(Reason.OFFLINE, f"Gateway offline - {what}")
