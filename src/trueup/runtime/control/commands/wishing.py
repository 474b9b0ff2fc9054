"""The commands by which an assistant proposes and submits orders, and a person decides.

An order is sent in a turn after its command, by the bot's own order desk: the answer to the command
is `waiting`, and `outcome` tells what became of it. A command that is repeated after a lost answer
sends nothing again, because its key names one order of the book, also after a restart.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from trueup.core.book import events
from trueup.core.book.events import ProposalMade
from trueup.core.book.proposals import with_proposal_key
from trueup.core.book.wishes import ASSISTANT, OrderWish, WishAction, is_assistant, order_key
from trueup.errors import JournalError, OutcomeNotRecorded, Refused, TrueupError
from trueup.logs import Logger, logger
from trueup.observe.log import CONTROLS
from trueup.protocol.text import brief
from trueup.runtime.assistants.asking import (
    LONGEST_WHY,
    Asked,
    ask,
    check_key,
    check_wish,
)
from trueup.runtime.assistants.outcomes import WishOutcome, WishState, outcome_of, proposal_outcome
from trueup.runtime.assistants.proposals import Proposals
from trueup.runtime.bot.checking_desk import CheckingDesk
from trueup.runtime.control.commands.closing import refuse_different
from trueup.runtime.control.commands.command import Command, Commands, refuse_old
from trueup.runtime.control.commands.command_observer import CommandObserver
from trueup.runtime.sync.observation import Observation
from trueup.runtime.trading.loop import TradingLoop

log: Logger = logger("trueup.portfolio")

# Results that the book does not have are kept for so many commands.
RESULTS_KEPT = 100
# An assistant that asks more often is in a loop: it must not fill the journal.
MOST_A_MINUTE = 60
MINUTE_NS = 60 * 1_000_000_000
LONGEST_WHO = 100
TOO_OFTEN = f"More than {MOST_A_MINUTE} requests in a minute: wait a minute."

CarryOut: TypeAlias = Callable[[Command, Observation | None], WishOutcome | None]
"""Carries out a command after an observation, and returns its refusal; None if there is none."""


class Job(msgspec.Struct, frozen=True):
    """A command that waits for its turn; `look` is the observation to wait for, 0 for none."""

    command: Command
    carry_out: CarryOut
    look: int = 0


class WishCommands:
    """Carry out the wishes of assistants, one in a turn.

    Args:
        loop: the bot's trading loop.
        observer: observes the broker for commands.
    """

    def __init__(self, loop: TradingLoop, observer: CommandObserver) -> None:
        self._loop, self._pm, self._observer = loop, loop.pm, observer
        self._proposals = Proposals(loop.pm)
        # What waits for its turn, by the key of the wish or the id of the proposal.
        self._jobs: dict[str, Job] = {}
        # Refusals, which the book does not have, by the same names.
        self._results: dict[str, WishOutcome] = {}
        self._times_ns: deque[int] = deque(maxlen=MOST_A_MINUTE)
        self.commands: Commands = {
            "submit": lambda command: self._wished(command, self._submit),
            "propose": lambda command: self._wished(command, self._propose),
            "outcome": self._outcome,
            "reject": self._reject,
        }

    def knows(self, name: str) -> bool:
        """Return whether a name is the id of a proposal."""
        return name in self._pm.book.proposals

    def approve(self, command: Command) -> dict[str, Any]:
        """Take a person's approval of a proposal; its order is sent in the next turn.

        Raises:
            Refused: the command is too old.
        """
        name = command.id
        made = self._pm.book.proposals[name].made
        if self._pm.book.proposals[name].ended is None and name not in self._jobs:
            refuse_old(command, self._pm.clock.now_ns())
            self._results.pop(name, None)
            self._jobs[name] = self._job(command, made.wish, self._approved)
        return {
            "id": name,
            "kind": "proposal",
            "ticket": made.wish.ticket,
            "identifier": 0,
            "reason": made.wish.words,
            "sync_count": self._loop.reconciler.sync_count,
            "within_sec": 0.0,
        }

    def turn(self) -> None:
        """Carry out the next wish; waits for the reply to its order alone."""
        # A journal in trouble may take seconds to refuse, and is asked again by the syncs.
        if not self._pm.journal_trouble:
            with contextlib.suppress(JournalError):
                self._proposals.sweep()
        for name, job in list(self._jobs.items()):
            observation = self._observer.observation(job.look) if job.look else None
            if isinstance(observation, int):
                continue
            del self._jobs[name]
            result = job.carry_out(job.command, observation)
            if result is not None:
                self._keep(name, result)
            return

    @property
    def proposed(self) -> list[ProposalMade]:
        """The proposals that wait for a person, the oldest first."""
        return self._proposals.waiting

    def rows(self) -> list[WishOutcome]:
        """Return the proposals that wait for a person, as plain values."""
        proposals = self._pm.book.proposals
        return [proposal_outcome(proposals[made.proposal_id]) for made in self.proposed]

    def _wished(self, command: Command, carry_out: CarryOut) -> dict[str, Any]:
        """Take a wish to be carried out in a later turn; return what is known of it already."""
        try:
            asked = _asked_of(command)
        except (TrueupError, ValueError) as error:
            # There may be no key and no wish to journal.
            log.warning("[PROPOSAL] %.100s was refused: %s", command.who, error)
            raise
        too_often = self._asks_too_often()
        try:
            check_wish(asked.wish)
            known = self._first_of(asked, carry_out)
            # A repeated key costs nothing, and its assistant must be told of the first order.
            if known is None and too_often:
                raise Refused(TOO_OFTEN)
            if known is None:
                refuse_old(command, self._pm.clock.now_ns())
        except (TrueupError, ValueError) as error:
            if not too_often:
                self._note_refusal(asked, str(error), proposed=carry_out == self._propose)
            raise
        if known is None:
            self._results.pop(asked.key, None)
            self._jobs[asked.key] = self._job(command, asked.wish, carry_out)
            known = _waiting(asked)
        return _answer(known)

    def _first_of(self, asked: Asked, carry_out: CarryOut) -> WishOutcome | None:
        """Return what became of the first wish with this key, None without one.

        Raises:
            Refused: the key was used with other terms, or for a proposal instead of an order.
        """
        key = asked.key
        if key in self._jobs:
            first = self._jobs[key]
            if (_asked_of(first.command).wish, first.carry_out) != (asked.wish, carry_out):
                raise Refused(_other_terms(key, "a wish that has not been carried out yet"))
            return _waiting(asked)
        proposal = with_proposal_key(self._pm.book.proposals, key)
        if proposal is not None:
            if carry_out != self._propose:
                raise Refused(
                    f"key={key!r} is that of {proposal.made.proposal_id}: give another key."
                )
            if proposal.made.asked != asked.wish:
                raise Refused(_other_terms(key, proposal.made.wish.words))
        elif self._pm.book.by_key.get(order_key(key)) is not None:
            # The desk compares the terms, and returns the first order without sending anything.
            ask(self._pm, CheckingDesk.beside(self._pm.desk), asked)
        return self._of_key(key)

    def _job(self, command: Command, wish: OrderWish, carry_out: CarryOut) -> Job:
        # On a netting account a close of more lots than the position has opens the other side, so
        # the broker is read once more before the order leaves.
        reads = wish.action is WishAction.CLOSE and self._pm.book.nets
        look = self._observer.observation(0) if reads and carry_out != self._propose else 0
        assert isinstance(look, int)
        return Job(command, carry_out, look)

    def _refuse_different(self, wish: OrderWish, observation: Observation | None) -> None:
        holding = self._pm.book.holding_by_ticket(wish.ticket)
        if observation is not None and holding is not None:
            refuse_different(holding.position, observation)

    def _submit(self, command: Command, observation: Observation | None) -> WishOutcome | None:
        asked = _asked_of(command)
        try:
            self._refuse_different(asked.wish, observation)
            ask(self._pm, self._pm.desk, asked)
        except OutcomeNotRecorded:
            # The order was sent: the book has the order, and soon its outcome.
            return None
        except (TrueupError, ValueError) as error:
            self._note_refusal(asked, str(error), proposed=False)
            return _refused(asked, str(error))
        return None

    def _propose(self, command: Command, _: Observation | None) -> WishOutcome | None:
        asked = _asked_of(command)
        try:
            self._proposals.make(asked, command.lifetime_sec)
        except (TrueupError, ValueError) as error:
            self._note_refusal(asked, str(error), proposed=True)
            return _refused(asked, str(error))
        return None

    def _approved(self, command: Command, observation: Observation | None) -> WishOutcome | None:
        # Another account, by `trueup rebind`, ends all proposals of the book without a word.
        known = self._pm.book.proposals.get(command.id)
        try:
            if known is not None:
                self._refuse_different(known.made.wish, observation)
            self._proposals.approve(command.id, command.who)
        except OutcomeNotRecorded:
            return None
        except (TrueupError, ValueError) as error:
            log.warning("[PROPOSAL] %s was approved by %s: %s", command.id, command.who, error)
            refused = WishOutcome(key="", state=WishState.REFUSED)
            if known is not None:
                refused = proposal_outcome(known)
            return msgspec.structs.replace(refused, state=WishState.REFUSED, reason=str(error))
        return None

    def _outcome(self, command: Command) -> dict[str, Any]:
        """Return what became of a wish, by its key or by the id of its proposal."""
        name = command.id
        proposal = self._pm.book.proposals.get(name)
        key = name if proposal is None else proposal.made.key
        if name in self._jobs:
            return _answer(WishOutcome(key=key, state=WishState.WAITING))
        found = self._of_key(key)
        # The book knows best, but for an order that never left, or an approval that was refused.
        if found is None or found.state in (WishState.PROPOSED, WishState.IN_DOUBT):
            found = self._results.get(name, found)
        if found is None:
            raise Refused(f"This bot has no order and no proposal with the key {name!r:.80}.")
        return _answer(found)

    def _reject(self, command: Command) -> dict[str, Any]:
        self._proposals.reject(command.id, command.who, _words(command.why, LONGEST_WHY))
        key = self._pm.book.proposals[command.id].made.key
        found = self._of_key(key)
        assert found is not None
        return _answer(found)

    def _of_key(self, key: str) -> WishOutcome | None:
        reconciler = self._loop.reconciler
        return outcome_of(self._pm.book, key, reconciler.holds, reconciler.due_ns)

    def _note_refusal(self, asked: Asked, because: str, *, proposed: bool) -> None:
        # While the journal takes nothing, the log alone has the refusal.
        try:
            self._pm.note(
                events.WishRefused(
                    at_ns=self._pm.clock.now_ns(),
                    by=asked.who,
                    key=asked.key,
                    wish=asked.wish,
                    because=because,
                    proposed=proposed,
                )
            )
        except JournalError as error:
            log.warning("[PROPOSAL] %s was refused: %s (%s)", asked.who, because, error)

    def _asks_too_often(self) -> bool:
        """Count a request, and return whether there were too many in a minute."""
        now_ns, times = self._pm.clock.waiting_ns(), self._times_ns
        if len(times) == MOST_A_MINUTE and now_ns - times[0] < MINUTE_NS:
            return True
        times.append(now_ns)
        return False

    def _keep(self, name: str, result: WishOutcome) -> None:
        self._results[name] = result
        if len(self._results) > RESULTS_KEPT:
            del self._results[next(iter(self._results))]


def _asked_of(command: Command) -> Asked:
    """Return the wish of a command.

    Raises:
        ValueError: the key is not valid, or there is no wish.
        Refused: the one who asks is no assistant.
    """
    if not is_assistant(command.who):
        raise Refused(
            f"who={command.who!r:.40} is no assistant: only a name that begins with {ASSISTANT} "
            "submits and proposes orders here."
        )
    key = check_key(command.key)
    if command.wish is None:
        raise ValueError("wish is missing: give the terms of the order.")
    if not command.at_ns:
        raise ValueError("at_ns is missing: give the time of the command.")
    why = _words(command.why, LONGEST_WHY)
    # Of the class that a journal gives back, so that both compare equal after a restart.
    wish = OrderWish(**msgspec.structs.asdict(command.wish))
    return Asked(wish, key, _words(command.who, LONGEST_WHO), why)


def _words(text: str, most: int) -> str:
    """Return a text of an assistant as one line that is safe to show."""
    return brief(text, most).translate(CONTROLS)


def _other_terms(key: str, first: str) -> str:
    return f"key={key!r} was used for {first}, and comes again with other terms: give another key."


def _waiting(asked: Asked) -> WishOutcome:
    return WishOutcome(key=asked.key, state=WishState.WAITING, wish=asked.wish.words)


def _refused(asked: Asked, because: str) -> WishOutcome:
    return WishOutcome(
        key=asked.key, state=WishState.REFUSED, wish=asked.wish.words, reason=because
    )


def _answer(outcome: WishOutcome) -> dict[str, Any]:
    return {"outcome": msgspec.to_builtins(outcome)}
