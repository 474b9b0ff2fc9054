"""The receivers of messages, by Apprise; the only module that imports the library.

A receiver is an Apprise URL, which may have a secret in any part. So a receiver is named by its
number and its kind alone, and texts of the library are shown without the parts of the URL.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Sequence

import apprise
from apprise.manager_plugins import NotificationManager

from trueup.doors.alerts.texts import OVER, Message
from trueup.errors import SettingsError
from trueup.observe.status.status import State
from trueup.passwords import HIDDEN

_TYPES = {
    State.DEGRADED.value: apprise.NotifyType.INFO,
    State.NEEDS_PERSON.value: apprise.NotifyType.WARNING,
    State.HALTED.value: apprise.NotifyType.FAILURE,
    OVER: apprise.NotifyType.SUCCESS,
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://")
_PARTS = re.compile(r"[^A-Za-z0-9_-]+")
# Shorter parts are no secrets, and would leave holes in every sentence.
_SECRET_CHARS = 4
NO_REASON = "it did not take the message"


class _Reasons(logging.Handler):
    """Keeps the last warning of the library for each thread, instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[int | None, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self._said[record.thread] = record.getMessage()

    def take(self) -> str:
        """Return the last warning of this thread, and forget it."""
        return self._said.pop(threading.get_ident(), "")


class Receiver:
    """A receiver of messages.

    Args:
        url: the URL, which is a secret.
        name: the name for people, which has no secret.
        plugin: the library's object.
        reasons: the warnings of the library.
    """

    def __init__(self, url: str, name: str, plugin: apprise.NotifyBase, reasons: _Reasons) -> None:
        self._url, self._plugin, self._reasons = url, plugin, reasons
        self.name: str = name
        self.key: str = hashlib.blake2b(url.encode(errors="replace"), digest_size=8).hexdigest()
        """Names the receiver in the state file, without its secret."""

    def send(self, message: Message) -> str:
        """Send a message; return why it was not taken, or an empty text."""
        self._reasons.take()
        try:
            is_taken = self._plugin.notify(
                body=message.body,
                title=message.title,
                notify_type=_TYPES[message.level],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # noqa: BLE001 - any of 180 plugins may raise anything
            return self._without_secrets(f"{type(error).__name__}: {error}")
        if is_taken:
            return ""
        return self._without_secrets(self._reasons.take().rstrip(".") or NO_REASON)

    def _without_secrets(self, text: str) -> str:
        parts = {part for part in _PARTS.split(self._url) if len(part) >= _SECRET_CHARS}
        for part in sorted(parts - {_scheme(self._url)}, key=len, reverse=True):
            text = text.replace(part, HIDDEN)
        return text


def receivers_of(urls: Sequence[str], setting: str, first: int = 1) -> list[Receiver]:
    """Return the receivers of URLs.

    Args:
        urls: the URLs.
        setting: the name of the setting that has them, for errors.
        first: the number of the first receiver.

    Raises:
        SettingsError: a URL is of no known kind, or lacks a part.
    """
    reasons = _quiet_library()
    asset = apprise.AppriseAsset(app_id="trueup", app_desc="trueup", async_mode=False)
    found = []
    for number, url in enumerate(urls, first):
        scheme = _scheme(url)
        name = f"receiver {number} ({scheme or 'no kind'})"
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            known = NotificationManager()  # type: ignore[no-untyped-call]
            valid = (
                f"this URL lacks a part that {scheme} needs, or has one that it does not know"
                if scheme in known
                else "no service has this kind of URL"
            )
            raise SettingsError(setting, name, f"{valid}: {_HOW_TO_FIND}")
        found.append(Receiver(url, name, plugin, reasons))
    return found


_HOW_TO_FIND = "give URLs of Apprise, such as ntfys://TOPIC or mailto://HOST?from=A&to=B"


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def _quiet_library() -> _Reasons:
    """Keep the library's warnings out of our log: they may have parts of a URL."""
    log = logging.getLogger("apprise")
    log.propagate = False
    for handler in log.handlers:
        if isinstance(handler, _Reasons):
            return handler
    reasons = _Reasons()
    log.addHandler(reasons)
    return reasons
