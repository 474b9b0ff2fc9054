"""Processes that share the tests, forked from one that has collected them.

To collect takes six seconds of CPU, and each process of a run would do it before its first test.
So a run has a process that collects, and forks for each process that the tests' plugin asks for.
Where nothing can be forked, each of them collects.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from _pytest.config import _prepareconfig

from tests.support import forked
from tests.support.rewriting import rewrite_missing

# Many tests start these.
COMMANDS = ("terminal", "gateway", "run", "paper", "status", "page", "mcp", "alerts", "metrics")
# Less is not in the list of `--durations`.
SHOWN_SEC = 0.005
_BEGIN = f"""
import sys
sys.path.insert(0, {str(forked.ROOT)!r})
from tests.support.collected import collect
collect()
"""


class _Run(NamedTuple):
    """What the collecting process is told: what pytest was asked for, and for how many."""

    arguments: list[str]
    path: list[str]
    processes: int


def begin(config: pytest.Config) -> bool:
    """Start the process that collects, if more than one are to share the tests of this run.

    Returns:
        Whether the processes that share them will be forked from it.
    """
    processes: list[str] = getattr(config.option, "tx", [])
    is_plain = set(processes) == {"popen"} and not hasattr(config, "workerinput")
    # A report in JUnit's format needs each message.
    is_other = config.option.collectonly or config.option.xmlpath
    if not forked.CAN_FORK or not is_plain or len(processes) < 2 or is_other:
        return False
    from xdist.workermanage import _sys_path

    folder = tempfile.mkdtemp(prefix="trueup-tests-")
    run = _Run([str(one) for one in config.invocation_params.args], _sys_path, len(processes))
    socket = str(Path(folder) / "socket")
    collecting = subprocess.Popen(
        [sys.executable, "-c", _BEGIN, socket, json.dumps(run)],
        # It ends when the other end of this pipe is closed, however that comes.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    begun, until_closed = collecting.stdout, collecting.stdin
    assert begun is not None
    assert until_closed is not None
    assert begun.read(len(forked.READY)) == forked.READY
    begun.close()
    words = shlex.join(forked.asking(socket))
    config.option.tx = [f"popen//python={words}"] * len(processes)

    def end() -> None:
        until_closed.close()
        collecting.wait()
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(end)
    return True


# The process that collects.


class _Collected:
    """The tests of a run, in the process that has collected them and in those forked from it."""

    def __init__(self, socket: str, processes: int) -> None:
        self._preparing: Thread | None = None
        self._listening = forked.listen(socket)
        self._processes = processes
        self._failed: list[pytest.CollectReport] = []
        self._session: Any = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Compile what is missing; have another core prepare what all tests together need."""
        helpers = []
        for number in range(1, min(self._processes, os.cpu_count() or 1)):
            helper = os.fork()
            if not helper:
                rewrite_missing(session.config, number)
                os._exit(0)
            helpers.append(helper)
        rewrite_missing(session.config, 0)
        for helper in helpers:
            os.waitpid(helper, 0)
        is_whole = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
        forked.begin(*(COMMANDS if is_whole else ()))
        if is_whole:
            self._preparing = Thread(target=_prepare_database)
            self._preparing.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Tell of a path that is not there: it is a run without tests."""
        try:
            return (yield)
        except pytest.UsageError as error:
            sys.stderr.write(f"ERROR: {error}\n")
            return True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what a process of tests would tell at once."""
        if not report.passed:
            self._failed.append(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Fork for each process that is asked for; in it, do what its starter says."""
        if self._preparing is not None:
            self._preparing.join()
        capture: Any = session.config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()
        request = forked.serve(self._listening, lambda _: True)
        if request is None:
            forked.leave(0)
        else:
            self._session = session
            session.config.pluginmanager.unregister(self)
            forked.take_over()
            forked.take_files(request)
            random.seed()
            exec(request.words[1], {"__name__": "__main__"})
            forked.leave(0)

    def work(self, channel: Any) -> None:
        """Run the tests that come from the channel, as a process of xdist does."""
        told, _, options, _ = channel.receive()
        os.environ["PYTEST_XDIST_TESTRUNUID"] = told["testrunuid"]
        os.environ["PYTEST_XDIST_WORKER"] = told["workerid"]
        session, config = self._session, self._session.config
        config.workerinput, config.workeroutput = told, {}
        config.option.basetemp = options["basetemp"]
        config._tmp_path_factory._given_basetemp = Path(options["basetemp"])
        capture = config.pluginmanager.getplugin("capturemanager")
        capture.start_global_capturing()
        capture.suspend_global_capture()
        interactor = _interactor(config, channel)
        interactor.pytest_sessionstart(session)
        for report in self._failed:
            interactor.pytest_collectreport(report)
        interactor.pytest_collection_finish(session)
        try:
            interactor.pytest_runtestloop(session)
        except (KeyboardInterrupt, pytest.exit.Exception):
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        except BaseException:  # noqa: BLE001 - whatever it is, the run is told
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            config.notify_exception(pytest.ExceptionInfo.from_current(), config.option)
        finally:
            config.hook.pytest_sessionfinish(session=session, exitstatus=session.exitstatus)
            config._ensure_unconfigure()


def _prepare_database() -> None:
    """Make the data of a PostgreSQL server, which the tests' processes copy."""
    # What is wrong, or missing, the test that needs it says.
    with suppress(Exception):
        from tests.journal.postgres_server import PostgresServer, binaries

        programs = binaries()
        if programs is not None:
            PostgresServer(programs).remove()


def _interactor(config: pytest.Config, channel: Any) -> Any:
    """Return what tells the starter of this process what its tests do."""
    from xdist import remote

    class Interactor(remote.WorkerInteractor):  # type: ignore[misc]
        """It leaves out what nobody is shown: half of the messages, and of what they cost."""

        @pytest.hookimpl
        def pytest_runtest_logstart(self) -> None:
            """Tell nothing: what has begun is not shown where several run at once."""

        @pytest.hookimpl
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            """Tell of preparing and tidying up only what a person might look for."""
            is_plain = report.passed and not report.sections and not report.user_properties
            if report.when == "call" or not is_plain or report.duration > SHOWN_SEC:
                super().pytest_runtest_logreport(report)

    # The class speaks of its one object by this name.
    remote.interactor = Interactor(config, channel)
    return remote.interactor


_collected: list[_Collected] = []


def collect() -> None:
    """Collect what the arguments of this process say, and fork what shares it."""
    socket, given = sys.argv[1:]
    run = _Run(*json.loads(given))
    del sys.argv[1:]
    _collected.append(_Collected(socket, run.processes))
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    sys.path[:] = run.path
    os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(run.processes)
    config: Any = _prepareconfig(run.arguments, [_collected[0]])
    from xdist.remote import setup_config

    setup_config(config, None)
    # By this plugins know that another process tells what they find.
    config.workerinput, config.workeroutput = {}, {}
    sys.exit(config.hook.pytest_cmdline_main(config=config))


def module() -> ModuleType:
    """Return what the tests' plugin has a forked process run: this module."""
    return sys.modules[__name__]


if __name__ == "__channelexec__":
    from tests.support import collected

    collected._collected[0].work(channel)  # type: ignore[name-defined] # noqa: F821
