"""A process that appends is killed at random moments: what it acknowledged is there, no half is.

The moments come from a seed; what the process is doing at that moment does not, so a failure is
had again by more kills, not by the same one: `pytest -m soak`.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.journal.places import STREAM, Place, SqlitePlace, WriterProcess

BATCH = 3


def acknowledged(lines: list[str]) -> int:
    """Return the last position that was printed whole."""
    return max((int(line) for line in lines), default=0)


def kill_and_look(place: Place, chance: random.Random) -> None:
    with place.reader() as reader:
        before = reader.position
    process = WriterProcess(place.url, STREAM, "bot")
    assert process.greeting == f"open {before} {process.greeting.split()[-1]}"
    process.tell(f"loop {BATCH}")
    time.sleep(chance.uniform(0, 0.06))
    said = acknowledged(process.kill())
    # A server may still be in the middle of the last commit.
    place.wait_until_left()
    with place.reader() as reader:
        assert reader.position >= max(said, before)
        assert reader.position % BATCH == 0
        assert reader.position <= max(said, before) + BATCH
        verdict = reader.verify()
        assert verdict.sound
        assert verdict.tip.position == reader.position


def kill_many(place: Place, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    place.open().close()
    for _ in range(kills):
        kill_and_look(place, chance)
    with place.open() as journal:
        assert journal.findings == ()
        assert len(list(journal.read())) == journal.position


def test_process_when_killed_leaves_what_it_acknowledged(place: Place) -> None:
    kill_many(place, 18 if isinstance(place, SqlitePlace) else 8, seed=7)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_process_when_killed_hundreds_of_times_leaves_what_it_acknowledged(
    place: Place, seed: int
) -> None:
    kill_many(place, 100, seed)
