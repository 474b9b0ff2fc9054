"""Encode events as bytes, and decode them.

The bytes are JSON of the tagged union of all events. The union grows only by new kinds and by new
fields with defaults. So an older event always decodes, and a kind of a newer release is refused by
name.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import msgspec

from trueup.core.book.events import AnyEvent, Event, OrderCreated
from trueup.errors import JournalCorrupt, JournalError, NotEncodable

DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    str(kind.__struct_config__.tag): msgspec.json.Decoder(kind) for kind in get_args(AnyEvent)
}
_ENCODER = msgspec.json.Encoder()
# The columns hold 64-bit signed integers.
LARGEST_NS = 2**63 - 1


class Encoded(NamedTuple):
    """An event in the form of a row.

    `intent_id` is the order's id if the event is an intent, else None. A stream accepts an intent
    id only once.
    """

    at_ns: int
    kind: str
    payload: bytes
    intent_id: str | None


def encode(event: Event) -> Encoded:
    """Encode an event; refuse an event that could not be decoded again.

    Raises:
        NotEncodable: the event's own bytes do not decode, for example since a price is not a
            number.
    """
    kind = type(event).__name__
    decoder = DECODERS.get(kind)
    if decoder is None:
        raise NotEncodable(f"A {kind} is no event that the journal knows; nothing was written.")
    try:
        payload = _ENCODER.encode(event)
        # Decoded at once: an event that fails only at the next start would stop that start.
        decoder.decode(payload)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise NotEncodable(
            f"A {kind} cannot be journalled: {error}; nothing was written."
        ) from error
    if not 0 <= event.at_ns <= LARGEST_NS:
        raise NotEncodable(
            f"A {kind} cannot be journalled: at_ns is {event.at_ns}; nothing was written."
        )
    return Encoded(event.at_ns, kind, payload, _intent_of(event))


def _intent_of(event: Event) -> str | None:
    # The exact type: `isinstance` is slow for all other classes of event.
    return event.order_id if type(event) is OrderCreated else None


def decode(position: int, kind: str, payload: bytes) -> Event:
    """Decode the event of a row.

    Raises:
        JournalError: the kind is of a newer release.
        JournalCorrupt: the bytes are not an event of this kind.
    """
    decoder = DECODERS.get(kind)
    # Not damage: an older release reads a journal that a newer release wrote.
    if decoder is None:
        raise JournalError(
            f"The event at position {position} is a {kind}, which this release of trueup does not "
            "know: a newer one wrote it. Use that one."
        )
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise JournalCorrupt(
            f"The event at position {position} does not decode as a {kind}: {error}."
        ) from error
