"""What people do to the journal's file in the simulated world, and what a bot makes of it.

Each run is one in which nothing else goes wrong. With the product's rule taken away, a promise is
broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from tests.support.lived import Lived
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.lab.facts import facts
from trueup.lab.plan.plan import Fault
from trueup.runtime.sync.recall import Recall


def nothing_lost(patch: pytest.MonkeyPatch) -> None:
    """Never ask what the gateway's record has and the journal lacks."""
    patch.setattr(Recall, "lost", lambda *_: None)


def any_file(patch: pytest.MonkeyPatch) -> None:
    """Write on, whichever file is at the journal's path."""
    patch.setattr(SqliteDatabase, "restore", lambda _: False)


@pytest.mark.parametrize(
    ("fault", "take_away"),
    [(Fault.JOURNAL_PUT_BACK, nothing_lost), (Fault.JOURNAL_MOVED, any_file)],
)
@pytest.mark.parametrize("netting", [False, True])
def test_a_journal_that_is_put_back_or_moved_costs_no_order_and_no_cent(
    fault: Fault,
    take_away: Callable[[pytest.MonkeyPatch], None],
    netting: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lived(seed: int = 0) -> Lived:
        kind: dict[str, Any] = {"netting": netting, "owns_magic": not netting}
        return Lived(fault, seed=seed, wish_every_ms=1_000, **kind)

    whole = lived()
    assert whole.met == {fault.name}
    assert not whole.broken
    take_away(monkeypatch)
    # Not every seed trades in between what costs something when it is forgotten.
    assert any(lived(seed).broken for seed in range(12))


class Told:
    """The events of a journal and the orders that are sent, in the order in which they come."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, object]]] = []

    def observe(self, fact: facts.Fact) -> None:
        match fact:
            case facts.Journalled(kind=kind, payload=payload):
                self.said.append((kind, msgspec.json.decode(payload)))
            case facts.Sent(message=message):
                self.said.append(("Sent", msgspec.json.decode(message)))
            case facts.JournalLost():
                self.said.append(("LossAccepted", {}))

    def sent_too_soon(self) -> Iterator[dict[str, object]]:
        """Yield the entries that left between a loss and a person's yes to it."""
        waits = False
        for kind, told in self.said:
            if kind in ("LossFound", "LossAccepted"):
                waits = kind == "LossFound"
            elif kind == "Sent" and waits and told["action"] in ("BUY", "SELL"):
                yield from () if told["position"] else (told,)


@pytest.mark.parametrize("seed", range(3))
def test_no_entry_leaves_before_a_person_has_accepted_what_a_journal_lost(seed: int) -> None:
    told = Told()
    lived = Lived(Fault.JOURNAL_PUT_BACK, seed=seed, wish_every_ms=1_000, watchers=[told])
    kinds = [kind for kind, _ in told.said]
    assert not lived.broken
    assert "LossFound" in kinds
    assert "LossAccepted" in kinds[kinds.index("LossFound") :]
    assert not list(told.sent_too_soon())
