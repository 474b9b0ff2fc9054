"""Ask for positions on the guide's wire, where an empty list proves nothing.

The guide asks with `"symbol": "*"`. Some gateways take `*` for the name of a symbol, and answer
with an empty success although positions are open. Three forms of the question are known: with `*`;
without a symbol; and once per symbol of the book. The rules:

* Until `*` has returned a row on this connection, an empty answer is followed by the question
  without a symbol. The first empty answer, and each that would close a position, is also compared
  with the lists of the book's own symbols. If the gateway does not accept a question without a
  symbol, every empty answer is compared so.
* The form that returns more rows is used from then on.
* If an empty answer would close a position, the question is always repeated.
* If the gateway refuses the other forms (status ERROR), it does not take `*` for a symbol's name,
  and its empty list counts. If the gateway could not read its positions, no list counts.

A reading is a generator (`ask_for_list`). It yields the next question to send, is sent the answer,
and returns the reading. So callers that wait and callers that do not wait take the same steps.
"""

from __future__ import annotations

import enum
from collections.abc import Generator

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import FieldNote, Position, RowFault, Snapshot
from trueup.logs import Logger, logger
from trueup.protocol.guide import (
    GET_ALL_POSITIONS,
    GET_POSITIONS,
    encode_positions_request,
    is_refused,
)

log: Logger = logger("trueup.gateway")

Reading = Snapshot | Unknown
Steps = Generator[bytes, Reading, Reading]


class Form(enum.Enum):
    """A form of the question for positions; the values are texts for the log."""

    STAR = "with the symbol *"
    BARE = "without a symbol"
    BY_SYMBOL = "symbol by symbol"


class Forms:
    """The forms of the question that a gateway was seen to understand.

    Attributes:
        form: the form to ask first.
        has_shown_a_row: whether `form` has ever returned a position on this connection.
        symbols: the symbols of the latest question symbol by symbol.
        refuses_bare, refuses_symbols: whether the form without a symbol, or the form by symbol, got
            no list. No reply counts as a refusal too: some gateways crash on an unknown form.
        is_compared: whether an empty list was compared with the lists by symbol before.
    """

    def __init__(self) -> None:
        self.form: Form = Form.STAR
        self.has_shown_a_row: bool = False
        self.symbols: tuple[str, ...] = ()
        self.refuses_bare = self.refuses_symbols = False
        self.is_compared = False

    def forget_rows(self) -> None:
        """Forget the form after a reconnect, since another gateway may answer now."""
        self.form, self.has_shown_a_row = Form.STAR, False

    def use(self, form: Form, count: int) -> None:
        """Use this form from now on: it returned `count` positions where `*` returned none."""
        self.form, self.has_shown_a_row = form, True
        log.warning(
            "[SYNC] The gateway shows no position when it is asked %s, and %s when it is asked "
            "%s: asked so from now on",
            Form.STAR.value,
            count,
            form.value,
        )


class Own(msgspec.Struct, frozen=True):
    """The symbols of a book.

    Attributes:
        symbols: all symbols of the book; empty if the reading decides nothing.
        held: the symbols in which the book has positions.
    """

    symbols: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


NOTHING_OWN = Own()


def ask_for_list(forms: Forms, own: Own = NOTHING_OWN) -> Steps:
    """Yield the questions of a reading of the positions, and return the reading."""
    if forms.form is Form.BY_SYMBOL and own.symbols:
        return (yield from _by_symbol(forms, own))
    message = GET_ALL_POSITIONS if forms.form is Form.BARE else GET_POSITIONS
    answer = yield message
    if not isinstance(answer, Snapshot):
        # Another gateway may answer now, which does not understand the form.
        if forms.form is not Form.STAR and answer.reason is not Reason.OFFLINE:
            forms.forget_rows()
        return answer
    if not _is_empty(answer):
        forms.has_shown_a_row = True
        return answer
    if not forms.has_shown_a_row:
        return (yield from _ask_otherwise(answer, forms, own))
    # An empty list would close positions, so a single answer is not enough.
    return (yield message) if own.held else answer


def _ask_otherwise(empty: Snapshot, forms: Forms, own: Own) -> Steps:
    """Ask in the other forms, after an empty list for `*`, which has never returned a row."""
    is_first = bool(own.symbols) and not forms.is_compared
    forms.is_compared |= is_first
    refusal: Unknown | None = None
    if not forms.refuses_bare:
        bare = yield GET_ALL_POSITIONS
        if isinstance(bare, Snapshot) and not _is_empty(bare):
            forms.use(Form.BARE, len(bare.positions))
            return bare
        if isinstance(bare, Unknown):
            forms.refuses_bare = bare.reason is Reason.OFFLINE or is_refused(bare)
            if bare.reason is Reason.OFFLINE:
                # The gateway may have crashed on this form, so do not send the next form now.
                return bare
            refusal = bare
        elif not own.symbols or not (is_first or own.held) or forms.refuses_symbols:
            return empty
    if not own.symbols:
        return empty
    # Without an answer to the bare form, only the lists by symbol can confirm the empty list.
    listed = yield from _by_symbol(forms, own)
    if isinstance(listed, Snapshot):
        if not _is_empty(listed):
            forms.use(Form.BY_SYMBOL, len(listed.positions))
        return listed
    forms.refuses_symbols = listed.reason is Reason.OFFLINE or is_refused(listed)
    if listed.reason is Reason.OFFLINE:
        return listed
    # A failure that is not a refusal means that positions may be open and were not read.
    failures = [
        unknown for unknown in (refusal, listed) if unknown is not None and not is_refused(unknown)
    ]
    if failures:
        return _unconfirmed(failures[0])
    # The gateway refuses all other forms, so it does not take `*` for a symbol's name.
    return (yield GET_POSITIONS) if own.held else empty


def _by_symbol(forms: Forms, own: Own) -> Steps:
    """Ask for each symbol; repeat a question if an empty list would close a position."""
    positions: dict[int, Position] = {}
    faults: list[RowFault] = []
    notes: list[FieldNote] = []
    failed: Unknown | None = None
    forms.symbols = tuple(dict.fromkeys((*own.symbols, *own.held)))
    for symbol in forms.symbols:
        message = encode_positions_request(symbol)
        answer = yield message
        if isinstance(answer, Snapshot) and _is_empty(answer) and symbol in own.held:
            answer = yield message
        if isinstance(answer, Unknown):
            if answer.reason is Reason.OFFLINE:
                return answer
            # Report a refusal only if there is no other failure; name the missing list as a fault.
            failed = answer if failed is None or is_refused(failed) else failed
            problem = f"The list for {symbol} is missing: {answer.sentence.partition(': ')[2]}"
            faults.append(RowFault(problem, symbol))
            continue
        # A gateway that ignores the symbol lists all positions each time, so merge by identifier.
        positions |= {position.identifier: position for position in answer.positions}
        faults += answer.faults
        notes += answer.notes
    if failed is not None and not positions:
        return failed
    listed, found = list(positions.values()), tuple(dict.fromkeys(faults))
    return Snapshot(listed, found, notes=tuple(dict.fromkeys(notes)))


def _is_empty(reading: Snapshot) -> bool:
    return not reading.positions and not reading.faults


def _unconfirmed(why: Unknown) -> Unknown:
    said = why.sentence.rpartition(": ")[2]
    return Unknown(
        Reason.UNREADABLE,
        "The gateway's list for the symbol * is empty, and nothing confirms that: asked "
        f"{Form.BARE.value} and {Form.BY_SYMBOL.value}, it could not look ({said})",
        "a gateway that can look",
    )
