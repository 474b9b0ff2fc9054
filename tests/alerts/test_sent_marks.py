"""Messages are sent at least once; twice only if the process ends between sending and mark."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.alerts.scene import START_NS
from tests.paper.deadline import wait_for
from tests.support.receivers import Received
from trueup.doors.alerts.deciding import BookMemory, Memory
from trueup.doors.alerts.receivers import receivers_of
from trueup.doors.alerts.sending import Sending, send_next
from trueup.doors.alerts.store import KEPT_NS, AlerterLock, StateTrouble, Store
from trueup.doors.alerts.texts import Message
from trueup.errors import TrueupError


class Killed(BaseException):
    """Stands for the end of the process."""


class Notebook:
    """A receiver that writes down what it is sent; it may refuse, wait, or see a process die."""

    def __init__(self, name: str = "notebook") -> None:
        self.name = self.key = name
        self.bodies: list[str] = []
        self.why = ""
        self.dies_after = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def send(self, message: Message) -> str:
        self.goes_on.wait(60)
        if self.why:
            return self.why
        self.bodies.append(message.body)
        if self.dies_after:
            raise Killed
        return ""


def message(body: str, made_ns: int = START_NS) -> Message:
    return Message(
        made_ns=made_ns, level="needs_person", title="needs you", body=body, conditions=("a1",)
    )


def clock() -> int:
    return START_NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "alerts.db")
    yield made
    made.close()


def test_memory_and_messages_are_found_again(tmp_path: Path, store: Store) -> None:
    memory = Memory(books={"b": BookMemory(name="a book", place="/x", stream="s", position=7)})
    store.save(memory, [message("one"), message("two")], ["n", "n"])
    again = Store(tmp_path / "alerts.db")
    assert again.load() == memory
    assert [one.body for one in again.waiting("n")] == ["one", "two"]
    assert again.waiting("other") == []
    again.close()


def die_in_save(store: Store) -> None:
    """End the process before the end of a transaction."""
    with store._transaction() as file:
        file.execute("DELETE FROM deliveries")
        raise Killed


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["make", "send", "die in save", "die after send"]), max_size=20))
def test_whatever_ends_the_process_each_message_arrives_and_repeats_need_a_lost_mark(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("state") / "alerts.db"
    store, notebook = Store(path), Notebook()
    made = 0
    lost_marks: list[int] = []

    def reopened() -> Store:
        # The old connection is dropped as by a kill: its transaction was never committed.
        return Store(path)

    for step in steps:
        if step == "make":
            store.save(Memory(left_out=made), [message(f"m#{made}")], ["notebook"])
            made += 1
        elif step == "send":
            send_next(store, notebook, clock)
        elif step == "die in save":
            with pytest.raises(Killed):
                die_in_save(store)
            store = reopened()
        else:
            notebook.dies_after = True
            try:
                send_next(store, notebook, clock)
            except Killed:
                lost_marks.append(notebook.bodies[-1].count("m#"))
            notebook.dies_after = False
            store = reopened()
    while send_next(store, notebook, clock) is not None:
        pass
    # More than twenty that come as one would be cut, so no list of steps is longer.
    told = [word for body in notebook.bodies for word in body.split() if word.startswith("m#")]
    assert set(told) == {f"m#{number}" for number in range(made)}
    assert len(told) - made <= sum(lost_marks)
    if not lost_marks:
        assert len(told) == made
    store.close()


def test_a_message_whose_mark_was_lost_comes_again_and_then_never_more(store: Store) -> None:
    notebook = Notebook()
    store.save(Memory(), [message("once")], ["notebook"])
    notebook.dies_after = True
    with pytest.raises(Killed):
        send_next(store, notebook, clock)
    notebook.dies_after = False
    assert send_next(store, notebook, clock) == ""
    assert send_next(store, notebook, clock) is None
    assert notebook.bodies == ["once", "once"]


def test_a_receiver_that_hangs_and_one_that_refuses_delay_no_other(store: Store) -> None:
    hanging, refusing, fine = Notebook("hanging"), Notebook("refusing"), Notebook("fine")
    hanging.goes_on.clear()
    refusing.why = "no"
    receivers = [hanging, refusing, fine]
    sending = Sending(store, receivers, clock, first_pause_sec=0.01)
    sending.start()
    for number in range(3):
        store.save(Memory(), [message(f"m{number}")], [one.key for one in receivers])
        sending.wake()
        # Told in full while the first receiver has not answered yet.
        wait_for(lambda: len(fine.bodies) == number + 1, lambda: str(fine.bodies))  # noqa: B023
    assert (hanging.bodies, refusing.bodies) == ([], [])
    refusing.why = ""
    wait_for(lambda: len(refusing.bodies) == 3, lambda: str(refusing.bodies))
    hanging.goes_on.set()
    wait_for(lambda: len(hanging.bodies) == 3, lambda: str(hanging.bodies))
    sending.stop(30)
    assert [one.bodies for one in receivers] == [["m0", "m1", "m2"]] * 3


def test_a_stop_at_any_moment_ends_the_thread_of_a_receiver(store: Store) -> None:
    class StopComes(threading.Event):
        """The news of a receiver, which a stop sets right before they count as seen."""

        def clear(self) -> None:
            sending.stop(0)
            self.set()
            super().clear()

    sending = Sending(store, [], clock)
    news = StopComes()
    news.set()
    thread = threading.Thread(target=sending._run, args=(Notebook(), news), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_a_receiver_that_comes_back_gets_one_message_about_many(store: Store) -> None:
    notebook = Notebook()
    made = [message(f"m{number}.") for number in range(1_000)]
    store.save(Memory(), made, ["notebook"])
    assert send_next(store, notebook, clock) == ""
    assert send_next(store, notebook, clock) is None
    (body,) = notebook.bodies
    lines = body.splitlines()
    assert lines[:2] == ["1000 messages could not be sent before:", "980 older ones are left out"]
    assert lines[-1] == "14:00:00 UTC a1: m999."
    assert len(lines) == 22


def test_old_messages_and_receivers_that_are_no_longer_wanted_are_forgotten(store: Store) -> None:
    store.save(Memory(), [message("old")], ["a", "b"])
    store.save(Memory(), [message("new", START_NS + KEPT_NS)], ["a", "b"])
    assert store.taken_by_nobody_since() == START_NS
    store.tidy_up(["a"], START_NS + KEPT_NS + 1)
    assert [one.body for one in store.waiting("a")] == ["new"]
    assert store.waiting("b") == []
    store.mark("a", [2], START_NS)
    assert store.taken_by_nobody_since() is None


def test_a_message_that_one_of_two_has_taken_was_taken(store: Store) -> None:
    """A person has the message: one dead receiver does not stop the heartbeat."""
    store.save(Memory(), [message("one"), message("two", START_NS + 1)], ["a", "b"])
    assert store.taken_by_nobody_since() == START_NS
    store.mark("a", [1], START_NS)
    assert store.taken_by_nobody_since() == START_NS + 1
    store.mark("b", [2], START_NS)
    assert store.taken_by_nobody_since() is None


def test_a_damaged_state_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StateTrouble, match="Remove this file; what lasts is then told again"):
        Store(path)


def test_two_processes_never_send_the_same_alerts(tmp_path: Path) -> None:
    """The lock ends with its process, however that ends."""
    code = (
        "import sys; from pathlib import Path; from trueup.doors.alerts.store import AlerterLock\n"
        "lock = AlerterLock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"locked"
        with pytest.raises(TrueupError, match=f"sent already, by process {other.pid}: end that"):
            AlerterLock(tmp_path)
        other.kill()
        other.wait(60)
    AlerterLock(tmp_path).release()


def test_a_message_arrives_by_http_and_by_mail(phone: Received, mailbox: Received) -> None:
    text = "The books differ by one position. One decision is yours.\nSince 14:00:00 UTC. · € <b>"
    for receiver in receivers_of([phone.url, mailbox.url], "TRUEUP_ALERTS_TO"):
        assert receiver.send(message(text)) == ""
    (by_http,), (by_mail,) = phone.messages, mailbox.messages
    assert (by_http["title"], by_http["message"], by_http["type"]) == ("needs you", text, "warning")
    assert by_mail["title"] == "needs you"
    assert by_mail["message"].replace("\r\n", "\n").strip() == text


def test_a_refusal_says_why_and_shows_no_part_of_the_url(
    phone: Received, capfd: pytest.CaptureFixture[str]
) -> None:
    phone.status = 500
    dead = "json://admin:pass-8fa2@127.0.0.1:1/hook-77b1/127.0.0.1?key=key-93c1"
    names = [one.name for one in receivers_of([phone.url, dead], "X")]
    assert names == ["receiver 1 (json)", "receiver 2 (json)"]
    whys = [one.send(message("hello")) for one in receivers_of([phone.url, dead], "X")]
    assert "error=500" in whys[0]
    assert "Connection error" in whys[1]
    said = " ".join(whys) + "".join(capfd.readouterr())
    for part in ("hook-4f1d", "admin", "pass-8fa2", "hook-77b1", "key-93c1"):
        assert part not in said
