"""The page: its cold start, its memory, the size of Now, and an event on ten readers' screens."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks._measure import report
from tests.page.browser import PHONE, browsing
from tests.page.folder import APPROVER, Folder, Reader, Served

COLD_SEC, MEMORY_MB, NOW_BYTES, EVENT_MS = 0.3, 25.0, 10_000, 300.0
READERS, EVENTS = 10, 12


def run() -> int:
    """Measure, print, and return how many targets were missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name))
        try:
            return _measure(folder)
        finally:
            folder.clean()


def _measure(folder: Folder) -> int:
    missed = _told("imports alone, over those of a bare Python", _imports(), COLD_SEC, "s")
    cold = statistics.median(_cold(folder) for _ in range(5))
    missed += _told("cold start to the first answer", cold, COLD_SEC, "s")
    folder.bot("bot.log", "--adopt", "ask")
    served = folder.page()
    if sys.platform == "linux":
        # Before anybody has looked; then with a reader.
        missed += _told(
            "idle, memory of its own", memory_mb(served.running.child.pid), MEMORY_MB, "MB"
        )
        print(f"  that is {_memories(served.running.child.pid)}")
    folder.open_by_hand()
    text = served.reader.wait_for("/", "1 to decide")
    missed += _told("Now with a decision", len(text.encode()), NOW_BYTES, "bytes")
    spent = _event_ms(folder, served)
    words = "commit to the change on ten phones, median"
    missed += _told(words, statistics.median(spent), EVENT_MS, "ms")
    print(f"  slowest of {len(spent)}: {max(spent):.0f} ms")
    if sys.platform == "linux":
        print(f"  after ten readers: {memory_mb(served.running.child.pid):.1f} MB of its own")
    return missed


def _told(what: str, value: float, target: float, unit: str) -> int:
    return report(what, value, target, unit, "")


def _imports() -> float:
    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    load = "import trueup.cli.process, trueup.cli.page.page, trueup.doors.page.serve"
    return min(once(load) for _ in range(5)) - min(once("pass") for _ in range(5))


def _cold(folder: Folder) -> float:
    began = time.perf_counter()
    served = folder.page()
    with urllib.request.urlopen(f"{served.address}/sign-in") as answer:
        answer.read()
    spent = time.perf_counter() - began
    served.running.child.kill()
    served.running.child.wait()
    return spent


def _memories(pid: int) -> str:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return f"{sizes['Pss']:.1f} MB PSS, {sizes['Rss']:.1f} MB RSS"


def memory_mb(pid: int) -> float:
    """Return the memory of a process that it shares with no other, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _event_ms(folder: Folder, served: Served) -> list[float]:
    """Return the times from the commit of a pause or a resume to each of ten phones' screens."""
    spent: list[float] = []
    (journal,) = (folder.folder / ".trueup").glob("*.db")
    person = Reader(served.address, APPROVER)
    with browsing() as browser, Commits(journal) as commits:
        windows = [_window(browser, served) for _ in range(READERS)]
        for number in range(EVENTS):
            name, words = (("pause", "Trading is paused"), ("resume", ""))[number % 2]
            form = person.get(f"/act/{name}")[1]
            commits.forget()
            person.send(f"/act/{name}", form, why=f"{number}")
            for window in windows:
                window.wait_for_function(
                    "words => words ? seen.text.includes(words) : !seen.text.includes('paused')",
                    arg=words,
                )
                spent.append(window.evaluate("seen.at") - commits.first_ms())
    return spent


def _window(browser: Any, served: Served) -> Any:
    context = browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]})
    window = context.new_page()
    window.goto(f"{served.address}/sign-in?token={APPROVER}")
    window.wait_for_url(f"{served.address}/")
    # The moment at which the document changes, by the clock that the journal is watched with.
    window.evaluate(
        """() => {
            const todo = document.getElementById('todo');
            window.seen = {at: Date.now(), text: todo.textContent};
            new MutationObserver(() => {
                if (todo.textContent !== seen.text) seen = {at: Date.now(), text: todo.textContent};
            }).observe(todo, {childList: true, subtree: true, characterData: true});
        }"""
    )
    return window


class Commits:
    """Notes when a journal has a new transaction, to about a millisecond."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._is_over = journal, threading.Event()
        self._seen: list[float] = []
        self._thread = threading.Thread(target=self._watch)

    def forget(self) -> None:
        """Forget the commits so far."""
        self._seen.clear()

    def first_ms(self) -> float:
        """Return when the first commit was seen, in milliseconds since 1970."""
        return self._seen[0]

    def _watch(self) -> None:
        line = sqlite3.connect(f"{self._journal.as_uri()}?mode=ro", uri=True)
        version = -1
        while not self._is_over.wait(0.001):
            (now,) = line.execute("PRAGMA data_version").fetchone()
            if now != version:
                version = now
                self._seen.append(time.time() * 1000)
        line.close()

    def __enter__(self) -> Commits:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
