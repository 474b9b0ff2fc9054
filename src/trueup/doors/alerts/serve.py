"""Send alerts until Ctrl-C, or once, or a message to try the receivers."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trueup.core.dates import iso
from trueup.doors.alerts.alerter import Alerter, Looked
from trueup.doors.alerts.heartbeat import Heartbeat, fetch
from trueup.doors.alerts.options import Options
from trueup.doors.alerts.receivers import Receiver, receivers_of
from trueup.doors.alerts.sending import Sending, send_next
from trueup.doors.alerts.store import FILE, AlerterLock, StateTrouble, Store
from trueup.doors.alerts.texts import OVER, Message
from trueup.doors.watch import Place, Watch, rest_after
from trueup.logs import Logger, logger
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.time.clock import SystemClock

log: Logger = logger("trueup.alerts")

LOOK_EVERY_SEC = 1.0
LATE_SEC = 60.0
UNTAKEN_SEC = 300.0
STOP_SEC = 2.0
TEST_TITLE = "test · trueup"
TEST_BODY = "This is a test of `trueup alerts`. Nothing is yours to do."


class Outcome(NamedTuple):
    """What became of a message to a receiver; `why` is empty if the receiver took it."""

    name: str
    why: str


def all_receivers(options: Options) -> list[Receiver]:
    """Return all receivers, each once.

    Raises:
        SettingsError: a URL cannot be used.
    """
    found: list[Receiver] = []
    for setting, urls in options.urls:
        found += receivers_of(urls, setting, len(found) + 1)
    unique: dict[str, Receiver] = {}
    for one in found:
        unique.setdefault(one.key, one)
    return list(unique.values())


def serve(options: Options, place: Place, opened: Callable[[int], None]) -> None:
    """Send alerts until Ctrl-C.

    Args:
        options: the receivers and the rules.
        place: the journal to read if no bot runs.
        opened: is told the number of receivers, once everything is ready.

    Raises:
        SettingsError: a receiver cannot be used.
        TrueupError: another process sends the alerts of this folder, or the state is not usable.
    """
    receivers, clock = all_receivers(options), SystemClock()
    with _opened(options, place, receivers, clock) as (store, alerter):
        sending = Sending(store, receivers, clock.now_ns)
        pulse = Pulse(alerter, store, clock)
        heartbeat = Heartbeat(options.heartbeat, options.heartbeat_sec, pulse.why_not)
        sending.start()
        opened(len(receivers))
        try:
            _look(alerter, sending, pulse)
            # Before the first look nobody knows whether the books can be read.
            if options.heartbeat:
                heartbeat.start()
            _look_again_and_again(alerter, sending, pulse, clock)
        except KeyboardInterrupt:
            pass
        finally:
            heartbeat.stop()
            sending.stop(STOP_SEC)


def once(options: Options, place: Place) -> tuple[Looked, list[Outcome], str]:
    """Look once and send what is to be sent.

    Returns what the look has found, an outcome for each receiver that had a message to take, and
    why not all books could be read.

    Raises:
        SettingsError: a receiver cannot be used.
        TrueupError: another process sends the alerts of this folder, or the state is not usable.
    """
    receivers, clock = all_receivers(options), SystemClock()
    with _opened(options, place, receivers, clock) as (store, alerter):
        looked = alerter.look()

        def sent(receiver: Receiver) -> str | None:
            said = why = send_next(store, receiver, clock.now_ns)
            while why == "":
                why = send_next(store, receiver, clock.now_ns)
            return why or said

        outcomes = _at_once(receivers, sent)
    return looked, outcomes, alerter.trouble


def try_out(options: Options) -> list[Outcome]:
    """Send a test message to each receiver, and the heartbeat; return an outcome for each.

    Raises:
        SettingsError: a receiver cannot be used.
    """
    receivers = all_receivers(options)
    now_ns = SystemClock().now_ns()
    message = Message(
        made_ns=now_ns,
        level=OVER,
        title=TEST_TITLE,
        body=f"{TEST_BODY}\n{iso(now_ns)}",
        conditions=(),
    )
    outcomes = _at_once(receivers, lambda receiver: receiver.send(message))
    if options.heartbeat:
        outcomes.append(Outcome("heartbeat", fetch(options.heartbeat)))
    return outcomes


class Pulse:
    """Knows whether a person would be told of trouble.

    Args:
        alerter: looks at the books.
        store: the messages.
        clock: the clock.
    """

    def __init__(self, alerter: Alerter, store: Store, clock: SystemClock) -> None:
        self._alerter, self._store, self._clock = alerter, store, clock
        self._looked_ns = clock.waiting_ns()
        self.state_trouble: str = ""
        """Why the last look could not be kept; empty if it could."""

    def beat(self) -> None:
        """Note that a look has come to its end."""
        self._looked_ns = self._clock.waiting_ns()

    def why_not(self) -> str:
        """Return why a person might not be told of trouble now; empty if a person would be."""
        if self._clock.waiting_ns() - self._looked_ns > LATE_SEC * 1e9:
            return f"the last look at the books is older than {LATE_SEC:.0f} s"
        if self.state_trouble or self._alerter.trouble:
            return self.state_trouble or self._alerter.trouble
        try:
            since_ns = self._store.taken_by_nobody_since()
        except StateTrouble as error:
            return str(error)
        if since_ns is not None and self._clock.now_ns() - since_ns > UNTAKEN_SEC * 1e9:
            return f"no receiver took a message for more than {UNTAKEN_SEC:.0f} s"
        return ""


@contextmanager
def _opened(
    options: Options, place: Place, receivers: Sequence[Receiver], clock: SystemClock
) -> Iterator[tuple[Store, Alerter]]:
    keys = [one.key for one in receivers]
    lock = AlerterLock(state_folder())
    try:
        store = Store(Path(state_folder()) / FILE)
        store.tidy_up(keys, clock.now_ns())
        yield store, Alerter(Watch(place), store, options.policy, keys, clock)
    finally:
        lock.release()


def _look_again_and_again(
    alerter: Alerter, sending: Sending, pulse: Pulse, clock: SystemClock
) -> None:
    pause = threading.Event()
    while True:
        began_ns, worked_ns = clock.waiting_ns(), time.thread_time_ns()
        _look(alerter, sending, pulse)
        rest_ns = rest_after(clock.waiting_ns() - began_ns, time.thread_time_ns() - worked_ns)
        pause.wait(max(LOOK_EVERY_SEC, rest_ns / 1e9))


def _look(alerter: Alerter, sending: Sending, pulse: Pulse) -> None:
    """Look once, and note for the heartbeat what became of it."""
    try:
        if alerter.look().messages:
            sending.wake()
    except StateTrouble as error:
        if pulse.state_trouble != str(error):
            log.error("[ALERT] %s", error, extra={"event": "alert.no_state"})
        pulse.state_trouble = str(error)
    else:
        pulse.state_trouble = ""
    pulse.beat()


def _at_once(
    receivers: Sequence[Receiver], send: Callable[[Receiver], str | None]
) -> list[Outcome]:
    """Send to all receivers at the same time; a receiver without a message has no outcome."""
    with concurrent.futures.ThreadPoolExecutor(max(1, len(receivers))) as pool:
        sent = list(pool.map(send, receivers))
    pairs = zip(receivers, sent, strict=True)
    return [Outcome(receiver.name, why) for receiver, why in pairs if why is not None]
