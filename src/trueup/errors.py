"""The errors of the package, ordered by what is known about the effect of the failed call.

Only `NotSent` may be retried unchanged. `OutcomeUnknown` must never be retried: a look at the
broker resolves the outcome.
"""

from __future__ import annotations

from typing import Any


def quoted(text: str) -> str:
    """Return a text in quotes as `repr` writes it, but without doubled backslashes in paths."""
    return repr(text).replace("\\\\", "\\")


def reason(error: OSError) -> str:
    """Return the operating system's text for an error, without number and path."""
    return error.strerror or str(error)


class TrueupError(Exception):
    """Something in trueup went wrong.

    `remedy` says what a person can do about the cause, as a part of a sentence; empty where the
    message itself says it.
    """

    remedy: str = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])

    @property
    def with_remedy(self) -> str:
        """The message, and what to do, where the message does not say it."""
        return f"{self} To do: {self.remedy}." if self.remedy else str(self)


class NotSent(TrueupError):
    """The request never left this process; nothing happened and a retry is safe."""


class Obstructed(NotSent):
    """Something that is known keeps the request from leaving this process; nothing happened."""


class NotAllowed(Obstructed):
    """Gateway and client do not take each other's keys; nothing left this process."""


class HostUnknown(Obstructed):
    """No host has the gateway's name; nothing left this process."""


class Refused(TrueupError):
    """The broker answered no; nothing happened.

    `retcode` is MetaTrader's trade server return code where the answer carried one, else None.
    """

    def __init__(self, message: str | None = None, *, retcode: int | None = None) -> None:
        super().__init__(message)
        self.retcode = retcode


class ClaimRefused(Refused):
    """Another writer of the account claimed a part of this scope; nothing was claimed or sent.

    The message names the other writer, since when it holds its claim, and what both share.
    """


class FormerWriter(ClaimRefused):
    """The gateway knows a newer writer of this journal; nothing was claimed or sent.

    `token` is the fencing token of that writer. A journal that was put back from a backup may be
    behind the gateway as well: `StoredJournal.raise_token` is for its only writer.
    """

    def __init__(self, message: str | None = None, *, token: int) -> None:
        super().__init__(message)
        self.token = token


class Paused(Refused):
    """A person paused trading, or allows only closes; nothing was sent.

    `retcode` is the code by which MetaTrader refuses such an order: 10027 (automated trading is
    disabled) or 10044 (only closing is allowed).
    """


class OutcomeUnknown(TrueupError):
    """The request left and no answer came; only reconciliation may resolve its outcome."""


class ProtocolError(TrueupError):
    """The rules of the wire were broken."""


class LocalProtocolError(ProtocolError):
    """We were about to break the rules of the wire."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the rules of the wire."""


class JournalError(TrueupError):
    """The journal could not be read or written."""

    def __init__(self, message: str | None = None, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy or type(self).remedy


class NotEncodable(JournalError):
    """An event does not come back from its own bytes, so no journal takes it; nothing was written.

    The disk is not the cause: the same event will be refused again.
    """


class OutcomeNotRecorded(JournalError):
    """The order was sent, and its outcome is not in the journal yet; do not send the order again.

    Attributes:
        order: the order with its `order_id`, its key and its parameters.
        outcome: the gateway's answer, with `status` UNKNOWN if none came. The outcome is kept in
            memory and recorded with the next order or sync. If the process ends before that, the
            order is in doubt.
    """

    def __init__(self, message: str | None = None, *, order: Any, outcome: Any) -> None:
        super().__init__(message)
        self.order: Any = order
        self.outcome: Any = outcome


class JournalConflict(JournalError):
    """Another process writes this journal; we are not the only writer."""


class JournalCorrupt(JournalError):
    """A row of the journal does not decode, was altered, or is missing."""

    remedy = (
        "`trueup journal verify` says where the damage is, and docs/operating/journal.md how to "
        "mend a journal"
    )


class EventsArchived(JournalError):
    """The events that were asked for are in an archive, and its file cannot be read there."""

    def __init__(self, stream: str, first: int, last: int, file: str) -> None:
        super().__init__(
            f"The events {first} to {last} of stream {stream!r} are in the archive {file}, which "
            "is not there, or which this user may not read.",
            remedy="put the file back at that place, or put its events back into the journal with "
            "`trueup journal restore FILE`",
        )
        self.file = file


class PlanOutdated(TrueupError):
    """The plan is no longer true: book or broker changed since it was made; make a new one."""


class BrokerUnknown(TrueupError):
    """The broker cannot be seen or believed now; nothing was planned or applied."""


class InvariantBroken(TrueupError):
    """A promise of `core.invariants` does not hold.

    `number` is the invariant's number in that module.
    """

    def __init__(self, number: int, message: str | None = None) -> None:
        super().__init__(f"Invariant {number}: {message}" if message else None)
        self.number = number


class SettingsError(TrueupError):
    """A setting has a value that cannot be used.

    The message is a sentence with the variable, its value and the valid form.
    """

    def __init__(self, variable: str, value: str, valid: str) -> None:
        super().__init__(f"{variable}={quoted(value)} is not valid: {valid}.")
        self.variable: str = variable
        self.value: str = value
        self.valid: str = valid


class StrategyError(TrueupError):
    """A strategy raised, or returned what is no signal; the message names its file and line."""


class KeysError(TrueupError):
    """A key file, or a file of allowed keys, cannot be used; the message says what to do."""
