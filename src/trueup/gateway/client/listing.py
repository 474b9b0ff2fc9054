"""Ask for the positions on the guide's wire, where an empty list proves nothing.

The guide asks with `"symbol": "*"`. Some gateways take `*` for the name of a symbol and answer an
empty success while positions are open. Three forms of the question are known: with `*`, without a
symbol, and once for each symbol of the book. So:

* Until `*` has shown a row on this connection, an empty answer to it is asked again without a
  symbol. The first such answer, and every such answer that would close a position, is also
  compared with the lists of the book's own symbols; so is every such answer where the gateway does
  not take a question without a symbol.
* The form that shows more is used from then on.
* An empty answer that would close a position is always asked twice.
* Where the other forms are refused as such (status ERROR), `*` is no symbol's name to that gateway,
  and its empty list counts. Where it could not look, nothing counts.

One reading is a generator (`ask_for_list`): it yields the question to send next, is sent what came,
and returns the reading. So the same steps are taken by a caller that waits and by one that does
not.
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
    """A form of the question for the positions, in words for the log."""

    STAR = "with the symbol *"
    BARE = "without a symbol"
    BY_SYMBOL = "symbol by symbol"


class Forms:
    """What one gateway was seen to understand.

    `form` is how the gateway is asked first, `has_shown_a_row` whether that form ever showed a
    position on this connection. `symbols` are those of the latest question symbol by symbol.
    `refuses_bare` and `refuses_symbols` say which questions got no list: silence is a refusal, too,
    because there are gateways that a question of an unknown form ends.
    """

    def __init__(self) -> None:
        self.form: Form = Form.STAR
        self.has_shown_a_row: bool = False
        self.symbols: tuple[str, ...] = ()
        self.refuses_bare = self.refuses_symbols = False
        self.is_compared = False

    def forget_rows(self) -> None:
        """Note a new connection, behind which another gateway may be."""
        self.form, self.has_shown_a_row = Form.STAR, False

    def use(self, form: Form, count: int) -> None:
        """Ask in this form from now on: it showed `count` positions where `*` showed none."""
        self.form, self.has_shown_a_row = form, True
        log.warning(
            "[SYNC] The gateway shows no position when it is asked %s, and %s when it is asked "
            "%s: asked so from now on",
            Form.STAR.value,
            count,
            form.value,
        )


class Own(msgspec.Struct, frozen=True):
    """The symbols of a book: all `symbols` it looks after, and those in which it holds something.

    `symbols` is empty where nothing is decided by the reading.
    """

    symbols: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


NOTHING_OWN = Own()


def ask_for_list(forms: Forms, own: Own = NOTHING_OWN) -> Steps:
    """Yield the questions of one reading of the positions, and return the reading."""
    if forms.form is Form.BY_SYMBOL and own.symbols:
        return (yield from _by_symbol(forms, own))
    message = GET_ALL_POSITIONS if forms.form is Form.BARE else GET_POSITIONS
    answer = yield message
    if isinstance(answer, Unknown):
        if forms.form is not Form.STAR and answer.reason is Reason.UNREADABLE:
            forms.forget_rows()
        return answer
    if not _is_empty(answer):
        forms.has_shown_a_row = True
        return answer
    if not forms.has_shown_a_row:
        return (yield from _ask_otherwise(answer, forms, own))
    return (yield message) if own.held else answer


def _ask_otherwise(empty: Snapshot, forms: Forms, own: Own) -> Steps:
    """Ask in the other forms, because an empty list came for `*`, and `*` never showed a row."""
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
                return bare
            refusal = bare
        elif not own.symbols or not (is_first or own.held) or forms.refuses_symbols:
            return empty
    if not own.symbols:
        return empty
    listed = yield from _by_symbol(forms, own)
    if isinstance(listed, Snapshot):
        if not _is_empty(listed):
            forms.use(Form.BY_SYMBOL, len(listed.positions))
        return listed
    forms.refuses_symbols = listed.reason is Reason.OFFLINE or is_refused(listed)
    if listed.reason is Reason.OFFLINE:
        return listed
    failures = [one for one in (refusal, listed) if one is not None and not is_refused(one)]
    if failures:
        return _unconfirmed(failures[0])
    # It refuses every other form, so `*` is no symbol's name to it.
    return (yield GET_POSITIONS) if own.held else empty


def _by_symbol(forms: Forms, own: Own) -> Steps:
    """Ask for each symbol, and once more where an empty list would close a position."""
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
            failed = answer if failed is None or is_refused(failed) else failed
            what = f"The list for {symbol} is missing: {answer.sentence.partition(': ')[2]}"
            faults.append(RowFault(what, symbol))
            continue
        # A gateway that does not look at the symbol shows all positions each time.
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
