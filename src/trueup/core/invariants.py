"""The ten promises with their numbers; documents, run-time checks and checkers use the numbers."""

from __future__ import annotations

from trueup.errors import InvariantBroken

INVARIANTS: dict[int, tuple[str, str]] = {
    1: (
        "Agreement",
        "when faults stop, the book equals the broker within a bounded number of syncs",
    ),
    2: ("At most once", "one intent never leads to two executions"),
    3: (
        "No false ghost",
        "a position that exists at the broker is never closed locally "
        "on an untrusted or older reading",
    ),
    4: (
        "No lost intent",
        "every order that reached the broker is in the journal, at every crash point",
    ),
    5: ("Replay", "folding the journal gives the live book, byte for byte"),
    6: (
        "Idempotence",
        "planning again on the same snapshot gives an empty plan; "
        "shuffled or duplicated reports change nothing",
    ),
    7: ("Explained", "every change of the book has an audit entry with its evidence"),
    8: (
        "Foreign untouched",
        "nothing outside policy is adopted, and nothing is changed or closed "
        "but by an order that names it with foreign=True",
    ),
    9: ("One writer", "two processes never both act for one account"),
    10: (
        "Honest age",
        "nothing is handed out as current past its limit, and nothing decays into flat",
    ),
}


def check(number: int, holds: bool, message: str) -> None:
    """Raise when promise `number` does not hold (a plain call, because -O removes `assert`).

    Raises:
        InvariantBroken: `holds` is false.
    """
    if not holds:
        raise InvariantBroken(number, f"{INVARIANTS[number][0]}: {message}")
