"""What every test gets: Hypothesis profiles, `--mt5`, Windows, and fresh seeds that are told.

And what a whole run gets: processes that share the tests, an order of them, a folder in memory.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from tests.page.browser import browser as browser
from tests.page.browser import started_browser as started_browser
from tests.support import collected
from tests.support.logs import logs_as_before
from tests.support.rewriting import rewrite_missing
from tests.support.sharing import dealt
from tests.windows.wine import is_wine, reason_to_fail

# Each run draws others; `make soak` has many more of each.
settings.register_profile("ci", deadline=None, max_examples=100)
settings.register_profile(
    "soak", deadline=None, max_examples=20_000, suppress_health_check=[HealthCheck.too_slow]
)
# Each mutant runs every test that reaches it; what examples find, the unit tests find too.
settings.register_profile("mutation", deadline=None, max_examples=10, derandomize=True)
# `scripts/windows/tier.sh` says why.
settings.register_profile("windows", deadline=None, max_examples=15)
settings.load_profile("ci")


# With which a person or a service manager ends a process.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
]
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30
NEW_OBJECTS = 50_000
# Each process takes some 150 MB, and what it starts as much again.
PROCESSES_MOST = 16


def _has_room(folder: Path) -> bool:
    """Return whether tests can write their files here, and run programs that they write."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and (
        shutil.disk_usage(folder).free > ROOM_BYTES
    )


# A shell lets what it starts in the background ignore Ctrl-C, and everything that is started from
# there; the tests of Ctrl-C need the handler of a program that a person starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A journal waits for the disk after every commit, thousands of times in a run. No test can see
# whether the disk has it: that would take a power cut.
if sys.platform != "win32" and IN_MEMORY.is_dir() and _has_room(IN_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@contextmanager
def handlers_as_before() -> Iterator[None]:
    """Put the handlers of signals back at the end."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set by Python.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Put back what a command that is called in this process leaves: its handlers and its logs.

    A fixture would do it, too, but for twice the CPU, and each of the tests needs it.
    """
    with handlers_as_before(), logs_as_before():
        return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mt5",
        action="store_true",
        help="run the terminal's contract against the MetaTrader 5 demo account of this machine",
    )
    parser.addoption(
        "--soak-syncs", type=int, default=10_000_000, help="syncs of the soak of many accounts"
    )
    parser.addoption(
        "--soak-minutes", type=float, default=20.0, help="minutes of the soak of 2,000 accounts"
    )
    parser.addoption(
        "--wine", action="store_true", help="run tests/wine with the Windows CPython under Wine"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many processes share the tests: most of a long test's time is waiting for others."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(cores or 1, min(3 * (cores or 1), PROCESSES_MOST))


_is_forked: list[bool] = []


def pytest_configure(config: pytest.Config) -> None:
    _is_forked.append(collected.begin(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_getremotemodule() -> ModuleType | None:
    return collected.module() if any(_is_forked) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = dealt(items, shares)
    under_wine, has_wine = is_wine(), config.getoption("--wine")
    for item in items:
        if item.get_closest_marker("mt5") and not config.getoption("--mt5"):
            item.add_marker(pytest.mark.skip(reason="needs --mt5 and a demo account"))
        if item.nodeid.startswith("tests/wine/") and not has_wine:
            item.add_marker(pytest.mark.skip(reason="needs Wine: `make windows`"))
        differs = reason_to_fail(item.nodeid) if under_wine else None
        if differs is not None:
            item.add_marker(pytest.mark.xfail(reason=f"Wine: {differs}"))


def pytest_sessionstart(session: pytest.Session) -> None:
    process = os.environ.get("PYTEST_XDIST_WORKER")
    # The process that only shares the tests out collects none.
    if process is not None:
        rewrite_missing(session.config, int(process.removeprefix("gw")))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected, a million objects, out of every search for garbage.

    To look through them again and again took a tenth of the whole run. What of it is garbage
    stays: to find it takes as long as one of those searches, and it is little. Between searches
    there may be more new objects than usual: a search among few finds nothing.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seeds that no one chose: a process that shares the tests prints nothing itself."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    terminalreporter.write_line(f"{name}: {value}")
