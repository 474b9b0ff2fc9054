"""The dead-man's heartbeat: a URL that is fetched as long as a person would be told of trouble.

A service that expects the heartbeat tells the person when it stays away: when this machine, this
process or the network is gone, when the books cannot be read, or when no receiver takes a message.
"""

from __future__ import annotations

import http.client
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

from trueup.errors import reason
from trueup.logs import Logger, logger

log: Logger = logger("trueup.alerts")

TIMEOUT_SEC = 10.0


def fetch(url: str) -> str:
    """Fetch a URL; return why that failed without the URL, or an empty text."""
    # Any answer counts: a service that refuses the heartbeat tells its owner.
    request = urllib.request.Request(url, headers={"User-Agent": "trueup"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SEC) as answer:
            answer.read(1)
    except OSError as error:
        cause: Any = getattr(error, "reason", error)
        return reason(cause) if isinstance(cause, OSError) else str(cause)
    except (http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    return ""


class Heartbeat:
    """Fetch a URL again and again, in a thread.

    Args:
        url: the URL, which is a secret.
        every_sec: seconds between two beats.
        why_not: returns why there must be no beat now, or an empty text.
    """

    def __init__(self, url: str, every_sec: float, why_not: Callable[[], str]) -> None:
        self._url, self._every_sec, self._why_not = url, every_sec, why_not
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread; the first beat is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_over.set()

    def _run(self) -> None:
        said = ""
        while not self._is_over.is_set():
            why = self._why_not() or fetch(self._url)
            # Said once, and again when the reason changes.
            if why and why != said:
                log.warning("[HEARTBEAT] No heartbeat: %s", why, extra={"event": "heartbeat.none"})
            elif said and not why:
                log.info("[HEARTBEAT] The heartbeat goes on", extra={"event": "heartbeat.on"})
            said = why
            self._is_over.wait(self._every_sec)
