"""Hold entries in symbols of ours that the broker does not have.

Only a gateway that asks its terminal knows such symbols. A gateway that reports none proves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import UnknownSymbol


def unknown_to_broker(inputs: SyncInputs) -> Iterator[UnknownSymbol]:
    """Yield the symbols of the policy that the broker does not have."""
    evidence = inputs.snapshot.evidence
    for unknown in evidence.unknown_symbols if evidence is not None else ():
        if inputs.policy.covers(unknown.symbol):
            yield unknown


def for_unknown_symbols(inputs: SyncInputs, outcome: Outcome) -> None:
    """Add a hold for each symbol that the broker does not have, until the symbol appears."""
    for unknown in unknown_to_broker(inputs):
        outcome.holds.append(
            Hold(
                unknown.symbol,
                _sentence(unknown, inputs),
                f"a broker that has {unknown.symbol}, or a book for a symbol that there is",
                kind=HoldKind.NO_SYMBOL,
            )
        )


def _sentence(unknown: UnknownSymbol, inputs: SyncInputs) -> str:
    is_open = any(position.symbol == unknown.symbol for position in inputs.snapshot.positions)
    if is_open:
        # The symbol was taken off the market; similar symbols are other instruments.
        return f"{unknown.sentence.partition(';')[0]} any more, and a position in it is still open"
    return unknown.sentence
