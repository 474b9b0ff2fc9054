"""A folder in which bots and the page run as processes."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running, Shell

IDLE = """
class Idle:
    def on_tick(self, tick):
        return 0
"""
APPROVER, READER = "approver-token-of-the-tests", "reader-token-of-the-tests"
_KEY = re.compile(r'name="key" value="([0-9a-f]+)"')


class Folder(Shell):
    """A shell with an idle strategy, and a page."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "idle.py").write_text(IDLE, encoding="utf-8")
        self.tokens = folder / "people"
        self.tokens.write_text(
            f"anna approver {APPROVER}\nrita reader {READER}\n", encoding="utf-8"
        )
        self.tokens.chmod(0o600)

    def bot(self, name: str = "bot.log", *options: str) -> Running:
        """Start a bot, and wait until it has compared the books."""
        running = self.start(name, "paper", "--strategy", "idle:Idle", *options)
        running.wait_for("[STARTUP]")
        return running

    def page(self, *options: str, port: int = 0, signs_in: bool = True) -> Served:
        """Start the page, and wait until it can be reached; by default anna signs in."""
        arguments = ("--token-file", str(self.tokens), "--port", str(port), *options)
        running = self.start("page.log", "page", *arguments)
        running.wait_for("The page is at ")
        address = running.text().partition("The page is at ")[2].partition("/ until")[0]
        return Served(running, address, signs_in=signs_in)

    def wait_for_status(self, words: str) -> str:
        """Ask for the status until it has these words, and return it."""
        said = [""]

        def is_there() -> bool:
            said[0] = self.ask("status").stdout
            return words in said[0]

        wait_for(is_there, lambda: f"{words!r} in\n{said[0]}")
        return said[0]

    def waiting_ids(self) -> list[str]:
        """Return the ids of the decisions that wait."""
        status = json.loads(self.ask("status", "--json").stdout)
        return [row["id"] for bot in status["bots"] for row in bot["to_decide"]]

    def once(self) -> dict[str, Any]:
        """Let `trueup alerts` look once."""
        done = self.run("alerts", "--once", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def open_by_hand(self, side: str = "sell", lots: str = "0.30") -> int:
        """Open a position by hand at the terminal and return its ticket."""
        said = self.run("trade", "open", side, lots).stdout
        return int(said.split()[2].rstrip(","))


class Served:
    """A page that can be reached, and a reader without a browser."""

    def __init__(self, running: Running, address: str, *, signs_in: bool = True) -> None:
        self.running, self.address = running, address
        if signs_in:
            self.reader = Reader(address)


class Beside(NamedTuple):
    """A folder with a running bot, and its page."""

    folder: Folder
    served: Served


class Reader:
    """Reads the page without a browser and without JavaScript, as one person."""

    def __init__(self, address: str, token: str = APPROVER) -> None:
        self.address, self.token = address, token
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), _Plain()
        )
        self.get(f"/sign-in?{urlencode({'token': token})}")

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of a screen."""
        status, body = self.raw(path)
        return status, body.decode("utf-8")

    def raw(self, path: str, data: dict[str, str] | None = None) -> tuple[int, bytes]:
        """The status and the bytes of an answer; with `data` a form is sent."""
        body = None if data is None else urlencode(data).encode()
        with self._opener.open(f"{self.address}{path}", body, timeout=60) as answer:
            return int(answer.status), bytes(answer.read())

    def send(self, path: str, form: str, **fields: str) -> tuple[int, str]:
        """Send a form of a screen that was read."""
        (key, *_) = _KEY.findall(form)
        status, body = self.raw(path, {"key": key, **fields})
        return status, body.decode("utf-8")

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a live stream; what it tells, one after the other."""
        with self._opener.open(f"{self.address}{path}", timeout=60) as answer:
            yield _told(answer)

    def wait_for(self, path: str, words: str) -> str:
        """Read a screen until it has these words, and return it."""
        seen = [""]

        def is_there() -> bool:
            seen[0] = self.get(path)[1]
            return words in seen[0]

        wait_for(is_there, lambda: f"{words!r} in\n{seen[0]}")
        return seen[0]


def _told(answer: Any) -> Iterator[dict[str, Any]]:
    event = ""
    for line in answer:
        name, _, text = line.decode("utf-8").strip().partition(": ")
        if name == "event":
            event = text
        elif event == "rest":
            yield {"rest": True}
        elif name == "data":
            yield json.loads(text)


class _Plain(urllib.request.HTTPErrorProcessor):
    """Answers with an error are answers; a redirect is followed."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        if response.status in (301, 302, 303, 307):
            return super().http_response(request, response)
        return response

    https_response = http_response
