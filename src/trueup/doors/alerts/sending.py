"""Send messages: a thread for each receiver, so that a dead or hanging receiver delays no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from trueup.doors.alerts.store import StateTrouble, Store
from trueup.doors.alerts.texts import Message, message_of_backlog
from trueup.logs import Logger, logger

log: Logger = logger("trueup.alerts")

# A receiver that takes nothing is asked again after a pause, which doubles from time to time.
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 5.0, 300.0
# More messages than this that wait for one receiver are sent as one.
APART_MOST = 3


class Sends(Protocol):
    """A receiver."""

    @property
    def name(self) -> str:
        """The name for people."""

    @property
    def key(self) -> str:
        """The name in the state file."""

    def send(self, message: Message) -> str:
        """Send a message; return why it was not taken, or an empty text."""


class Sending:
    """Send the messages of the store, each receiver in a thread of its own.

    Args:
        store: the messages, and the marks of what was sent.
        receivers: the receivers.
        now_ns: returns the date (ns of UTC).
        first_pause_sec: the pause after the first failure, in seconds.
    """

    def __init__(
        self,
        store: Store,
        receivers: Sequence[Sends],
        now_ns: Callable[[], int],
        first_pause_sec: float = FIRST_PAUSE_SEC,
    ) -> None:
        self._store, self._now_ns, self._first_pause_sec = store, now_ns, first_pause_sec
        self._is_over = threading.Event()
        self._lines = [(receiver, threading.Event()) for receiver in receivers]
        self._threads = [
            threading.Thread(target=self._run, args=line, name=line[0].name, daemon=True)
            for line in self._lines
        ]

    def start(self) -> None:
        """Start the threads; they begin with what an earlier process left unsent."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Tell the threads that there is a new message."""
        for _, news in self._lines:
            news.set()

    def stop(self, wait_sec: float) -> None:
        """End the threads; a thread that hangs in a receiver is left behind after `wait_sec`."""
        self._is_over.set()
        self.wake()
        for thread in self._threads:
            thread.join(wait_sec)

    def _run(self, receiver: Sends, news: threading.Event) -> None:
        pause_sec = self._first_pause_sec
        while not self._is_over.is_set():
            why = self._send_next(receiver)
            if why is None:
                pause_sec = self._first_pause_sec
                news.wait()
                # Before the next look at the store and at the end, so that no news is missed.
                news.clear()
            elif why:
                log.warning(
                    "[ALERT] Not sent to %s: %s; again in %.0f s",
                    *(receiver.name, why, pause_sec),
                    extra={"event": "alert.not_sent", "receiver": receiver.name},
                )
                self._is_over.wait(pause_sec)
                pause_sec = min(2 * pause_sec, LONGEST_PAUSE_SEC)
            else:
                pause_sec = self._first_pause_sec

    def _send_next(self, receiver: Sends) -> str | None:
        """Send what waits; return why it was not taken, '' if it was, None if nothing waits."""
        try:
            return send_next(self._store, receiver, self._now_ns)
        except StateTrouble as error:
            return str(error)


def send_next(store: Store, receiver: Sends, now_ns: Callable[[], int]) -> str | None:
    """Send a receiver its next message, or all of them as one, and mark what was sent.

    Returns why the receiver did not take the message, an empty text if it did, and None if no
    message waits.

    Raises:
        StateTrouble: the store cannot be read or written.
    """
    waiting = store.waiting(receiver.key)
    if not waiting:
        return None
    some = waiting if len(waiting) > APART_MOST else waiting[:1]
    message = some[0] if len(some) == 1 else message_of_backlog(some, now_ns())
    why = receiver.send(message)
    if not why:
        # A process that ends here sends the message again.
        store.mark(receiver.key, [one.number for one in some], now_ns())
        log.info(
            "[ALERT] Sent to %s: %s",
            *(receiver.name, message.body.splitlines()[0]),
            extra={"event": "alert.sent", "receiver": receiver.name},
        )
    return why
