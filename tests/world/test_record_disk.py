"""The disk under the gateway's record: what it keeps, and what it loses with the power."""

from __future__ import annotations

import pytest

from trueup.gateway.record import store as request_store
from trueup.gateway.record.store import Entry, StoreTrouble
from trueup.lab.system.record_disk import DiskStore, RecordDisk
from trueup.runtime.time.clock import ManualClock


class Machine:
    """A machine with a record on its disk."""

    def __init__(self) -> None:
        self.clock = ManualClock(10**18)
        self.full = 0
        self.disk = RecordDisk(self.clock.now_ns, self.meet_a_full_disk)

    def meet_a_full_disk(self) -> None:
        """Count a write that was refused."""
        self.full += 1

    def start(self, *, synced: bool = True) -> DiskStore:
        """Start a process; what it writes is synced, or left to the operating system."""
        store = self.disk.open("boot", self.clock.now_ns)
        if not synced:
            store._open().execute("PRAGMA synchronous=OFF")
        return store

    def write(self, store: DiskStore, order_id: str) -> None:
        """Write a request, a moment after the one before."""
        self.clock.advance(0.1)
        now_ns = self.clock.now_ns()
        store.add(Entry(order_id, 1, "s", b"{}", None, None, "boot", now_ns, "prepared"))


def test_what_was_synced_is_there_after_the_power_was_lost() -> None:
    machine = Machine()
    store = machine.start()
    machine.write(store, "A")
    store.end("A", "settled", b"{}")
    assert machine.disk.lose_power() == 0
    found = machine.start().find("A")
    assert found is not None
    assert found.state == "settled"


def test_what_was_not_synced_is_lost_but_for_what_was_written_back() -> None:
    machine = Machine()
    store = machine.start(synced=False)
    before = store.mark()
    machine.write(store, "A")
    machine.clock.advance(2)
    machine.write(store, "B")
    machine.write(store, "C")
    assert machine.disk.lose_power() == 2
    after = machine.start()
    assert [after.find(name) is not None for name in "ABC"] == [True, False, False]
    assert after.mark().id == before.id
    assert after.mark().last == 1


@pytest.mark.timeout(10)
def test_a_transaction_that_was_not_synced_is_lost_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_store, "KEPT_LEAST", 1)
    machine = Machine()
    store = machine.start()
    for name in "ABC":
        machine.write(store, name)
        store.end(name, "settled", b"{}")
    machine.clock.advance(400 * 86_400)
    store._open().execute("PRAGMA synchronous=OFF")
    assert store.drop_old() == 2
    assert store.find("A") is None
    assert machine.disk.lose_power() == 2
    after = machine.start()
    assert [after.find(name) is not None for name in "ABC"] == [True, True, True]


def test_a_process_that_ends_loses_nothing_whatever_was_synced() -> None:
    machine = Machine()
    machine.write(machine.start(synced=False), "A")
    assert machine.start().find("A") is not None


def test_a_full_disk_takes_no_request_and_is_read_all_the_same() -> None:
    machine = Machine()
    store = machine.start()
    machine.write(store, "A")
    machine.disk.is_full = True
    with pytest.raises(StoreTrouble, match="the disk is full"):
        machine.write(store, "B")
    assert machine.full == 1
    assert store.find("A") is not None
    assert store.find("B") is None
