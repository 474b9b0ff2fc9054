"""The user's guide, run as it is printed: every block of code, every command, every log line.

`tests/data/quick_start.md` is the guide itself. Blocks are known by the headings above them, and a
block that appears in the guide without a test here fails `test_every_block_is_accounted_for`.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest

from src.config import SYNC_INTERVAL_SEC
from src.strategy.portfolio import PortfolioManager
from src.strategy.reconciler import StateReconciler, SyncResult, SyncStatus
from tests.support import make
from tests.support.marks import needs_bash
from tests.support.servers import ZmqServer, free_port, until
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.runtime.time.clock import ManualClock

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "tests" / "data" / "quick_start.md").read_text(encoding="utf-8")
SETTINGS = ("SYNC_INTERVAL_SEC", "GTW_HOST", "GTW_PORT", "GTW_TIMEOUT_MS")
SCRIPT_DEADLINE_SEC = 60

# The one row that `[...]` stands for.
ROW = make.row(123456)


class Block(NamedTuple):
    """A fenced block of the guide: what it is called here, its language, and its text."""

    name: str
    language: str
    text: str


def blocks(language: str) -> dict[str, str]:
    return {block.name: block.text for block in BLOCKS if block.language == language}


def _blocks() -> Iterator[Block]:
    heading, seen = "", 0
    for match in re.finditer(
        r"^#+ (?P<h>[^\n]+)$|^```(?P<l>\w*)\n(?P<t>.*?)^```$", GUIDE, re.M | re.S
    ):
        if match["h"]:
            heading, seen = match["h"], 0
        else:
            seen += 1
            name = heading if seen == 1 else f"{heading} ({seen})"
            yield Block(name, match["l"], match["t"])


BLOCKS = [*_blocks()]
PYTHON = blocks("python")
BASH = blocks("bash")


def normal(line: str) -> str:
    """A line of the guide without what a run decides: how long it took."""
    return re.sub(r"\(\d+\.\dms\)", "(…ms)", line.strip())


def guide_log_lines() -> set[str]:
    tagged = re.findall(r"(?:^|Log: )(\[[A-Z_]+\] .+)$", GUIDE, re.M)
    return {normal(line) for line in tagged}


# A gateway as the guide has it.


class Broker:
    """A broker behind a gateway on loopback: `rows` is what it has."""

    def __init__(self, port: int) -> None:
        self.rows: list[dict[str, Any]] = [ROW]
        self.port = port


@pytest.fixture
def broker() -> Iterator[Broker]:
    it = Broker(0)
    with ZmqServer(lambda _: make.as_bytes(make.reply(*it.rows))) as server:
        it.port = server.port
        yield it


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no `.env` of whoever runs the tests."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def names(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a block may presuppose: the names that the guide's Option 2 makes."""
    monkeypatch.setenv("GTW_HOST", "127.0.0.1")
    monkeypatch.setenv("GTW_PORT", str(broker.port))
    pm = PortfolioManager(symbol="EURUSD")
    gateway = ExecutionGateway()
    made: dict[str, Any] = {
        "pm": pm,
        "gateway": gateway,
        "reconciler": StateReconciler(pm, gateway),
        "SyncStatus": SyncStatus,
    }
    yield made
    for value in (gateway, made["gateway"]):
        if isinstance(value, ExecutionGateway):
            value.disconnect()


@pytest.fixture
def runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run a block as it is printed, and return what it printed."""

    def run(name: str) -> str:
        text = PYTHON[name].replace("[...]", repr([ROW]))
        capsys.readouterr()
        exec(compile(text, f"quick_start.md, {name}", "exec"), names)
        return capsys.readouterr().out

    return run


Runs = Callable[[str], str]


# Every block of Python, by its heading.


def test_option_2_integrate_with_the_paper_trading_loop(runs: Runs, names: dict[str, Any]) -> None:
    out = runs("Option 2: Integrate with Paper Trading Loop")
    assert out == "Recovered 1 positions\n"  # and the interval has not passed, so no drift
    assert list(names["pm"].get_local_positions()) == [123456]
    assert names["reconciler"].sync_interval == SYNC_INTERVAL_SEC
    assert type(names["gateway"]) is ExecutionGateway


def test_option_3_manual_reconciliation(runs: Runs) -> None:
    assert runs("Option 3: Manual Reconciliation").splitlines() == [
        "Drift: Zombie position: Ticket 123456, LONG 0.01L",
        "Sync result: SUCCESS",
        "  - Recovered: 1",
        "  - Closed: 0",
        "  - Drifts fixed: 0",
    ]


def test_python_configuration(runs: Runs) -> None:
    """The constants are read when first imported, so whatever they are is what is printed."""
    out = runs("Python Configuration").splitlines()
    assert out[0] == f"Sync every {SYNC_INTERVAL_SEC} seconds"
    assert re.fullmatch(r"Gateway at \S+:\d+", out[1])


def test_startup_recovery(runs: Runs, names: dict[str, Any]) -> None:
    runs("`startup_recovery() -> SyncResult`")
    assert isinstance(names["result"], SyncResult)
    assert names["result"].recovered == 1


def test_sync_continuous(
    runs: Runs, names: dict[str, Any], broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block is the body of a loop: called again and again it reports the drift once."""
    broker.rows = [ROW | {"volume": 0.02}]
    names["pm"].force_add_position(ROW)
    heading = "`sync_continuous() -> Optional[SyncResult]`"
    assert until(lambda: runs(heading)) == "Detected 1 drifts\n"
    assert runs(heading) == ""
    assert names["result"] is None


def test_sync_positions(runs: Runs) -> None:
    assert runs("`sync_positions() -> SyncResult`") == "Status: SUCCESS\n"


def test_detect_drift(runs: Runs, names: dict[str, Any]) -> None:
    out = runs("`detect_drift() -> Optional[str]`")
    assert out == "State inconsistency: Zombie position: Ticket 123456, LONG 0.01L\n"
    assert names["pm"].position is None
    names["reconciler"].sync_positions()
    assert runs("`detect_drift() -> Optional[str]`") == ""


def test_get_audit_trail(runs: Runs, names: dict[str, Any]) -> None:
    names["reconciler"].startup_recovery()
    [line] = runs("`get_audit_trail() -> List[Dict]`").splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* RECOVERY: .*LONG 0\.01L", line)


def test_get_status(runs: Runs, names: dict[str, Any]) -> None:
    names["reconciler"].sync_positions()
    first, second = runs("`get_status() -> Dict`").splitlines()
    assert re.fullmatch(r"Last sync: .*\d.*", first)
    assert second == "Sync count: 1"


def test_gateway_offline(
    runs: Runs, names: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The guide: "No crash, local state unchanged, warnings logged, next sync will retry"."""
    port = free_port()
    with ExecutionGateway("127.0.0.1", port, 100) as gateway:
        pm = names["pm"]
        assert pm.force_add_position(make.row(5))
        before = pm.book.state()
        names["reconciler"] = reconciler = StateReconciler(pm, gateway)
        caplog.clear()
        runs("Gateway Offline")
        assert pm.book.state() == before
        assert any(
            record.levelno == logging.WARNING and "Gateway offline" in record.getMessage()
            for record in caplog.records
        )
        with ZmqServer(lambda _: make.as_bytes(make.reply(ROW)), port):
            until(lambda: reconciler.sync_positions().status is SyncStatus.SUCCESS)
            assert list(pm.get_local_positions()) == [123456]


def test_audit_trail_limits(runs: Runs, names: dict[str, Any], broker: Broker) -> None:
    """The guide: "Keeps last 1000 entries": with 1,100 corrections behind it."""
    broker.rows = [make.row(ticket) for ticket in range(1, 1101)]
    assert names["reconciler"].startup_recovery().recovered == 1100
    runs("Audit Trail Limits")
    assert len(names["trail"]) == 1000
    assert names["trail"][-1]["ticket"] == 1100


def test_checking_status(runs: Runs, names: dict[str, Any]) -> None:
    names["reconciler"].sync_positions()
    first, second, third = runs("Checking Status").splitlines()
    assert first == "Syncs performed: 1"
    assert re.fullmatch(r"Next sync due: .*\d.*", second)
    assert third == "Audit entries: 1"


def test_manual_testing(runs: Runs, names: dict[str, Any]) -> None:
    runs("Manual Testing")
    assert isinstance(names["gateway"], Mock)
    assert names["result"].status is SyncStatus.SUCCESS
    assert names["pm"].position.net_volume == 0.01


def test_large_audit_trail(runs: Runs, names: dict[str, Any], broker: Broker) -> None:
    broker.rows = [make.row(ticket) for ticket in range(1, 1101)]
    names["reconciler"].startup_recovery()
    assert runs("Large audit trail") == "1000\n"


# Every block of bash.


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a block of bash in the checkout, `python3` being the one that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'python3() {{ "{sys.executable}" "$@"; }}\n{script}'],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SCRIPT_DEADLINE_SEC,
    )


SHOW = (
    "python3 -c 'from src.config import *; from src import config as c;"
    "print(c.SYNC_INTERVAL_SEC, c.GTW_HOST, c.GTW_PORT, c.GTW_TIMEOUT_MS)'"
)


@needs_bash
@pytest.mark.parametrize("heading", ["Option 1: Run Unit Tests Only", "Run All Tests"])
def test_the_script_prints_what_the_guide_prints(heading: str) -> None:
    done = shell(BASH[heading])
    assert done.returncode == 0, done.stdout + done.stderr
    expected = re.findall(r"^# ((?!Expected).+)$", BASH["Option 1: Run Unit Tests Only"], re.M)
    assert expected == ["Passed: 8/8", "Failed: 0/8", "✅ All tests passed!"]
    assert done.stdout.splitlines()[-3:] == expected


@needs_bash
def test_the_audit_passes() -> None:
    done = shell(BASH["Run Gate 1 Audit"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 5


@needs_bash
def test_the_environment_of_the_guide_is_the_default() -> None:
    exported = shell(BASH["Environment Variables"] + SHOW)
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout == "15 172.19.141.255 5555 2000\n"
    assert exported.stdout == shell(SHOW).stdout


@needs_bash
def test_a_longer_interval_is_taken_from_the_environment() -> None:
    """Troubleshooting, "Mismatch still detected": and the reconciler goes by it."""
    ask = (
        "python3 -c 'from unittest.mock import Mock;"
        "from src.strategy.portfolio import PortfolioManager as P;"
        "from src.strategy.reconciler import StateReconciler as R;"
        "print(R(P(), Mock()).sync_interval)'"
    )
    done = shell(f"{BASH['Mismatch still detected']}\n{SHOW}\n{ask}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["30 172.19.141.255 5555 2000", "30"]
    assert shell(ask).stdout == "15\n"


@needs_bash
def test_the_gateway_listens_where_the_guide_looks_for_it() -> None:
    """Troubleshooting: what `nc -zv HOST PORT` finds, with nothing but a shell."""
    assert "nc -zv 172.19.141.255 5555" in BASH['"Gateway offline" errors']
    look = 'exec 3<>"/dev/tcp/127.0.0.1/{}"'
    with ZmqServer(lambda _: b"{}") as server:
        assert shell(look.format(server.port)).returncode == 0
    assert shell(look.format(free_port())).returncode != 0


def test_every_block_is_accounted_for() -> None:
    assert set(PYTHON) == {
        "Option 2: Integrate with Paper Trading Loop",
        "Option 3: Manual Reconciliation",
        "Python Configuration",
        "`startup_recovery() -> SyncResult`",
        "`sync_continuous() -> Optional[SyncResult]`",
        "`sync_positions() -> SyncResult`",
        "`detect_drift() -> Optional[str]`",
        "`get_audit_trail() -> List[Dict]`",
        "`get_status() -> Dict`",
        "Gateway Offline",
        "Audit Trail Limits",
        "Checking Status",
        "Manual Testing",
        "Large audit trail",
    }
    assert set(BASH) == {
        "Option 1: Run Unit Tests Only",
        "Environment Variables",
        "Run All Tests",
        "Run Gate 1 Audit",
        '"Gateway offline" errors',
        "Mismatch still detected",
    }
    assert {block.language for block in BLOCKS} == {"python", "bash", ""}


# Every log line.


class Slow:
    """A gateway that takes a tenth of a millisecond of the book's clock."""

    def __init__(self, clock: ManualClock, *rows: dict[str, Any]) -> None:
        self._clock, self._rows = clock, rows

    def get_positions(self) -> dict[str, Any]:
        self._clock.advance(0.0001)
        return make.reply(*self._rows)


def after(*remote: dict[str, Any], local: tuple[dict[str, Any], ...] = ()) -> StateReconciler:
    """A reconciler between a book that has `local` and a broker that has `remote`."""
    clock = ManualClock()
    pm = PortfolioManager(symbol="EURUSD", clock=clock)
    for row in local:
        assert pm.force_add_position(row)
    return StateReconciler(pm, Slow(clock, *remote))


DRIFTED = ROW | {"volume": 0.02, "price_open": 1.0544}
SCENARIOS: dict[str, Callable[[], object]] = {
    "[STARTUP] Starting recovery process": lambda: after().startup_recovery(),
    "[RECOVERY] Zombie position recovered: Ticket 123456, LONG 0.01L": (
        lambda: after(ROW).startup_recovery()
    ),
    "[SYNC] Starting full synchronization": lambda: after().sync_positions(),
    "[SYNC] Reconciliation complete: +0 -1 ~2 drifts": lambda: after(
        make.row(2, volume=0.02),
        make.row(3, volume=0.02),
        local=(make.row(1), make.row(2), make.row(3)),
    ).sync_positions(),
    "[SYNC] State Reconciled: Local matches Remote (…ms)": (
        lambda: after(ROW, local=(ROW,)).sync_positions()
    ),
    "[DRIFT_FIX] Volume 0.01L → 0.02L": lambda: after(DRIFTED, local=(ROW,)).sync_positions(),
    "[DRIFT_FIX] Ticket 123456: volume 0.01L → 0.02L, price 1.0543 → 1.0544": (
        lambda: after(DRIFTED, local=(ROW,)).sync_positions()
    ),
    "[DRIFT_FIX] Ticket 123456: volume mismatch corrected": (
        lambda: after(DRIFTED, local=(ROW,)).sync_positions()
    ),
    "[CLOSED] Ghost position removed (Ticket 123456)": (
        lambda: after(local=(ROW,)).sync_positions()
    ),
}


@pytest.mark.parametrize("line", SCENARIOS)
def test_a_log_line_of_the_guide_is_really_logged_once(
    line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    SCENARIOS[line]()
    assert [normal(record.getMessage()) for record in caplog.records].count(line) == 1


def test_the_guide_has_no_other_log_line() -> None:
    assert guide_log_lines() == set(SCENARIOS)


def test_the_time_of_a_sync_is_written_as_the_guide_writes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = "[SYNC] State Reconciled: Local matches Remote (0.1ms)"
    assert line in GUIDE
    caplog.set_level(logging.INFO)
    after(ROW, local=(ROW,)).sync_positions()
    assert line in [record.getMessage() for record in caplog.records]


# The three phases and the three scenarios, on real sockets.


class Bot:
    """What is lost in a crash: the process, and the book in it."""

    def __init__(self, port: int) -> None:
        self.clock = ManualClock()
        self.pm = PortfolioManager(symbol="EURUSD", clock=self.clock)
        self.gateway = ExecutionGateway("127.0.0.1", port, 10_000)
        self.reconciler = StateReconciler(self.pm, self.gateway, sync_interval_sec=15)

    def next_sync(self) -> SyncResult:
        """Let the interval pass and turn the main loop until the result is there."""
        self.clock.advance(15)
        result = until(self.reconciler.sync_continuous)
        assert isinstance(result, SyncResult)
        return result


@pytest.fixture
def bot(broker: Broker) -> Iterator[Bot]:
    started = Bot(broker.port)
    yield started
    started.gateway.disconnect()


def test_phase_1_startup_recovery(bot: Bot) -> None:
    """The guide: "If gateway has position → Zombie → Force-add to local state"."""
    assert bot.pm.position is None
    assert bot.reconciler.startup_recovery().recovered == 1
    assert list(bot.pm.get_local_positions()) == [123456]


def test_phase_2_continuous_drift_detection(bot: Bot, broker: Broker) -> None:
    """The guide: "Remote has, local doesn't → Recovery; local has, remote doesn't → Ghost close;
    volumes differ → Drift correction", all three at once and 15 seconds later."""
    broker.rows = [make.row(1), make.row(2)]
    bot.reconciler.startup_recovery()
    assert bot.reconciler.sync_continuous() is None
    broker.rows = [make.row(2, volume=0.02), make.row(3)]
    result = bot.next_sync()
    assert (result.recovered, result.closed, len(result.drifts)) == (1, 1, 1)
    assert {t: p.net_volume for t, p in bot.pm.get_local_positions().items()} == {2: 0.02, 3: 0.01}


def test_phase_3_forced_sync(bot: Bot, broker: Broker) -> None:
    """The guide: "Update local to match remote (gateway is source of truth)"."""
    assert bot.pm.force_add_position(ROW)
    broker.rows = [ROW | {"volume": 0.02}]
    assert len(bot.reconciler.sync_positions().drifts) == 1
    assert bot.pm.position is not None
    assert bot.pm.position.net_volume == 0.02


def test_scenario_1_clean_startup(bot: Bot, broker: Broker) -> None:
    """The guide: "No recovery needed, clean state"."""
    broker.rows = []
    result = bot.reconciler.startup_recovery()
    assert (result.status, result.recovered, result.closed) == (SyncStatus.SUCCESS, 0, 0)
    assert bot.pm.position is None


def test_scenario_2_crash_recovery(bot: Bot, broker: Broker) -> None:
    """The guide: "Portfolio FLAT (lost state) → Local state restored from gateway"."""
    bot.reconciler.startup_recovery()
    bot.gateway.disconnect()
    again = Bot(broker.port)
    try:
        assert again.pm.get_position_summary()["status"] == "FLAT"
        assert again.reconciler.startup_recovery().recovered == 1
        assert again.pm.get_position_summary()["net_volume"] == 0.01
        assert list(again.pm.get_local_positions()) == [123456]
    finally:
        again.gateway.disconnect()


def test_scenario_3_external_modification(bot: Bot, broker: Broker) -> None:
    """The guide: "User manually closes position → Next sync (15 sec) → Force-close ghost"."""
    bot.reconciler.startup_recovery()
    broker.rows = []
    assert bot.reconciler.sync_continuous() is None
    assert bot.pm.position is not None
    assert bot.next_sync().closed == 1
    assert bot.pm.position is None


@pytest.mark.parametrize("field", [{"volume": 0.02}, {"price_open": 1.0544}, {"type": "sell"}])
def test_key_concept_drift(bot: Bot, broker: Broker, field: dict[str, Any]) -> None:
    """The guide: "Remote (gateway) is source of truth - local state updated"."""
    assert bot.pm.force_add_position(ROW)
    broker.rows = [ROW | field]
    assert len(bot.reconciler.sync_positions().drifts) == 1
    assert bot.reconciler.detect_drift() is None
