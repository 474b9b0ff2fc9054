"""A thread that talks to a database which may hang, so that no screen waits for it for ever."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from trueup.errors import TrueupError

Answer = TypeVar("Answer")


class NoAnswer(TrueupError):
    """The database has not answered in time; what was asked may still be done."""


class Worker:
    """Makes calls in a thread of its own, one after the other.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], Answer]) -> Future[Answer]:
        """Have a call made."""
        if self._thread is None or not self._thread.is_alive():
            # A daemon, because the page must end although a database hangs.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: Future[Answer] = Future()
        self._work.put((call, future))
        return future

    def _run(self) -> None:
        while True:
            call, future = self._work.get()
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
                # Whatever it is: with the thread, all that waits for it would end unanswered.
                future.set_exception(error)


async def answer_of(future: Future[Answer], most_sec: float) -> Answer:
    """Wait for an answer, at most so many seconds.

    Raises:
        NoAnswer: there is no answer yet; the call goes on.
        TrueupError: what the call raised.
    """
    waiting = asyncio.wrap_future(future)
    done, _ = await asyncio.wait({waiting}, timeout=most_sec)
    if not done:
        raise NoAnswer("The database does not answer.")
    return waiting.result()
