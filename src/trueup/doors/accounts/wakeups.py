"""One poller for the connections of all accounts: wait until one of them has news.

On Windows a poller takes at most 512 connections. Accounts beyond that are looked at by the clock.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from trueup.gateway.client.link import Signal

Key = TypeVar("Key")
# Below the limit of Python's `select` on Windows, which also has the socket of `wake`.
WATCHED_MOST: Final = 500 if sys.platform == "win32" else sys.maxsize


class Wakeups(Generic[Key]):
    """Waits for the connections of many keys; `wake` may be called from any thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._keys: dict[int, Key] = {}
        self._signals: dict[Key, tuple[tuple[int, int], ...]] = {}

    def watch(self, key: Key, signals: Iterable[Signal | None]) -> bool:
        """Wait for these connections from now on, in place of the key's earlier ones.

        Returns:
            Whether all of them are waited for; otherwise the caller has to look by the clock.
        """
        wanted = tuple((one.descriptor, one.serial) for one in signals if one is not None)
        known = self._signals.get(key, ())
        if wanted == known and all(self._keys.get(number) is key for number, _ in known):
            return True
        self.forget(key)
        if len(self._keys) + len(wanted) > WATCHED_MOST:
            return False
        self._signals[key] = wanted
        for number, _ in wanted:
            # A number that another key has was closed there, and opened again here.
            self._drop(number)
            self._selector.register(number, selectors.EVENT_READ, key)
            self._keys[number] = key
        return True

    def forget(self, key: Key) -> None:
        """Wait for no connection of this key."""
        for number, _ in self._signals.pop(key, ()):
            if self._keys.get(number) is key:
                self._drop(number)

    def _drop(self, number: int) -> None:
        if self._keys.pop(number, None) is not None:
            # The system has forgotten a closed connection already.
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._selector.unregister(number)

    def wait(self, seconds: float) -> list[Key]:
        """Wait at most so many seconds; return the keys with news, each once."""
        found: dict[Key, None] = {}
        for ready, _ in self._selector.select(max(0.0, seconds)):
            if ready.data is None:
                self._take_wakes()
            else:
                found[ready.data] = None
        return list(found)

    def _take_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4_096):
                pass

    def wake(self) -> None:
        """End the wait under way, or the next one."""
        # A full buffer wakes as well.
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def close(self) -> None:
        """Close the poller."""
        self._selector.close()
        self._woken.close()
        self._waker.close()
