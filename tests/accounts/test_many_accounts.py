"""`trueup run --accounts` as a process: twenty gateways in another, and commands from a shell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paper.test_paper_processes import Running, Shell
from tests.support.asked import account_rows
from tests.support.many_gateways import FIRST_LOGIN, ManyGateways
from tests.support.servers import until
from trueup.journal import open_reader

pytestmark = pytest.mark.timeout(300)

STRATEGIES = """
class BuysOnce:
    def on_start(self, account):
        self.account = account

    def on_sync(self, result):
        if not self.account.positions:
            self.account.submit("buy", 0.1, symbol="EURUSD", key="only")


class Fails:
    def on_sync(self, result):
        raise ZeroDivisionError("no range")


class Ticks(BuysOnce):
    def on_sync(self, result):
        pass

    def on_tick(self, tick):
        return 1
"""
# Far longer than any delay of a busy machine: whoever waited for the hung gateway would show it.
TIMEOUT_SEC = 8
DEADLINE_SEC = 90.0
# Each question and its answer take a millisecond or two of the CPU.
PAUSE_SEC = 0.05
NONE = {"syncs": 0}
COUNT = 20
BUYS, FAILS, TICKS, ORDERS_HANG, HANGS, DEAD, SPARE = 0, 1, 2, 16, 17, 18, 19
STRATEGIES_OF = {BUYS: "BuysOnce", FAILS: "Fails", TICKS: "Ticks", ORDERS_HANG: "BuysOnce"}
# Syncs by hints alone.
HINTED = 12
HEALTHY = [f"a{number}" for number in range(3, 16) if number != HINTED]


def entry(number: int, port: int, *more: str) -> str:
    lines = [f"[accounts.a{number}]", f'gateway = "tcp://127.0.0.1:{port}"', *more]
    return "\n".join([*lines, f'account = "{FIRST_LOGIN + number}@Simulated-Demo"', ""])


class Accounts:
    """The process under test, and its file."""

    def __init__(self, folder: Path) -> None:
        self.shell = Shell(folder)
        (folder / "mine.py").write_text(STRATEGIES, "utf-8")
        self.gateways = ManyGateways(COUNT)
        ports = self.gateways.ports
        self.entries = {number: entry(number, ports[number]) for number in range(COUNT)}
        del self.entries[SPARE]
        symbols = 'symbols = ["EURUSD"]'
        for number, strategy in STRATEGIES_OF.items():
            line = f'strategy = "mine:{strategy}"'
            self.entries[number] = entry(number, ports[number], line, symbols)
        self.entries[HINTED] = entry(HINTED, ports[HINTED], "interval = 86400")
        self.gateways.tell("die", DEAD)
        self.gateways.tell("hang-orders", ORDERS_HANG)
        self.write()
        self.process: Running = self.shell.start("run.log", "run", "--accounts", "accounts.toml")

    def write(self) -> None:
        head = (
            f'[defaults]\ninterval = 0.5\ntimeout_ms = {TIMEOUT_SEC * 1000}\njournal = "books.db"\n'
            '[accounts.bad]\nmagic = "seven"\n'
        )
        path = self.shell.folder / "accounts.toml"
        draft = path.with_suffix(".new")
        draft.write_text(head + "\n".join(self.entries.values()), "utf-8")
        os.replace(draft, path)

    def rows(self) -> dict[str, Any]:
        """Return what the process answers to `trueup accounts`, by account; nothing before that."""
        return account_rows(self.shell.folder)

    def has_synced(self) -> bool:
        rows = self.rows()
        return all(rows.get(name, NONE)["syncs"] for name in HEALTHY)

    def when(self, name: str, **wanted: object) -> None:
        """Wait until an account has these values."""

        def has() -> bool:
            row = self.rows().get(name, {})
            return all(row.get(key) == value for key, value in wanted.items())

        until(has, DEADLINE_SEC, pause_sec=PAUSE_SEC)

    def sync_all(self, names: list[str], count: int) -> None:
        """Wait until each of these accounts has made so many more syncs."""
        before = {name: row["syncs"] for name, row in self.rows().items()}

        def have() -> bool:
            rows = self.rows()
            return all(rows[name]["syncs"] >= before[name] + count for name in names)

        until(have, DEADLINE_SEC, pause_sec=PAUSE_SEC)

    def kinds(self, number: int) -> list[tuple[str, str]]:
        """The kinds and authors of an account's journalled events."""
        stream = f"{FIRST_LOGIN + number}@Simulated-Demo"
        scope = "/symbol=EURUSD" if number in STRATEGIES_OF else ""
        with open_reader(self.shell.folder / "books.db", stream + scope) as reader:
            return [(one.kind, getattr(one.event, "by", "")) for one in reader.records()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    made = Accounts(tmp_path_factory.mktemp("accounts"))
    try:
        # Any of the tests may be the first in its process.
        until(made.has_synced, DEADLINE_SEC, pause_sec=PAUSE_SEC)
        yield made
    finally:
        for child in made.shell.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        made.gateways.__exit__(None, None, None)


def test_one_hung_and_one_dead_gateway_delay_no_other_account(world: Accounts) -> None:
    world.gateways.tell("hang", HANGS)
    world.sync_all(HEALTHY, 15)
    rows = world.rows()
    assert (rows[f"a{DEAD}"]["state"], rows[f"a{DEAD}"]["syncs"]) == ("waiting", 0)
    for name in HEALTHY:
        assert rows[name]["late_ms"] < TIMEOUT_SEC * 750, rows[name]
    stood = rows[f"a{HANGS}"]["syncs"]
    world.sync_all(HEALTHY, 5)
    assert world.rows()[f"a{HANGS}"]["syncs"] <= stood + 1
    # The entry with a fault is named, and is no account of the process.
    assert "bad" not in rows
    assert "accounts.toml: [accounts.bad] magic='seven' is not valid" in world.process.text()


def test_a_hint_of_a_gateway_leads_to_a_sync_at_once(world: Accounts) -> None:
    world.when(f"a{HINTED}", state="running", positions=0)
    world.gateways.tell("open", HINTED)
    world.when(f"a{HINTED}", positions=1)


def test_an_order_without_a_reply_and_a_failing_strategy_stay_with_their_account(
    world: Accounts,
) -> None:
    world.when(f"a{FAILS}", paused="trueup run", state="running")
    world.when(f"a{BUYS}", positions=1)
    world.when(f"a{TICKS}", positions=1)
    world.sync_all([*HEALTHY, f"a{FAILS}", f"a{BUYS}"], 5)
    until(
        lambda: ("SendStarted", "") in world.kinds(ORDERS_HANG), DEADLINE_SEC, pause_sec=PAUSE_SEC
    )
    # The strategy is not called again and again while it is paused for its failure.
    assert world.process.text().count("[STRATEGY]") == 1


def test_a_second_shell_reaches_each_account_by_its_name(world: Accounts) -> None:
    run = world.shell.run
    assert "give --account NAME, one of a0" in run("pause").stderr
    done = run("pause", "--account", "a4", "--who", "anna", "--why", "news", "--json")
    assert json.loads(done.stdout)["changed"] is True, done.stderr
    rows = world.rows()
    assert [name for name, row in rows.items() if row["paused"] == "anna"] == ["a4"]
    told = json.loads(run("status", "--json").stdout)["bots"]
    login = f"{FIRST_LOGIN + 4}@Simulated-Demo"
    (mine,) = [one for one in told if one["account"] == login]
    assert "anna" in json.dumps(mine)
    assert run("sync", "--account", "a5").returncode == 0
    assert "Nothing to do" in run("plan", "--account", "a6").stdout
    assert run("stop", "--account", "a7", "--who", "anna").returncode == 0
    world.when("a7", state="stopped")
    assert ("BotStopped", "anna") in world.kinds(7)
    assert "No bot with the name a7 runs" in run("sync", "--account", "a7").stderr


def test_accounts_are_added_removed_and_paused_while_the_process_runs(world: Accounts) -> None:
    world.entries[SPARE] = entry(SPARE, world.gateways.ports[SPARE])
    world.entries[8] = entry(8, world.gateways.ports[8], "paused = true")
    removed = world.entries.pop(9)
    world.write()
    world.when(f"a{SPARE}", state="running")
    world.when("a8", paused="accounts.toml", state="running")
    until(lambda: "a9" not in world.rows(), DEADLINE_SEC, pause_sec=PAUSE_SEC)
    assert ("BotStopped", "accounts.toml") in world.kinds(9)
    # The book goes on where it stopped; whoever asks by name is in the journal.
    world.entries[9] = removed
    del world.entries[10]
    world.entries[8] = entry(8, world.gateways.ports[8])
    world.write()
    world.shell.run("accounts", "--reread", "--who", "bert")
    world.when("a9", state="running")
    world.when("a8", paused="")
    until(lambda: "a10" not in world.rows(), DEADLINE_SEC, pause_sec=PAUSE_SEC)
    # A file that cannot be read changes nothing.
    path = world.shell.folder / "accounts.toml"
    whole = path.read_text("utf-8")
    path.write_text("[accounts", "utf-8")
    world.process.wait_for("The change is not used, and all accounts stay as they are")
    path.write_text(whole, "utf-8")
    world.sync_all(["a9", "a11", f"a{SPARE}"], 3)


def test_a_healed_gateway_is_synced_again_and_all_end_together(world: Accounts) -> None:
    world.gateways.tell("heal", HANGS)
    world.gateways.tell("heal", ORDERS_HANG)
    world.when(f"a{HANGS}", trouble="")
    done = world.shell.run("stop", "--who", "carla")
    assert done.returncode == 0, done.stderr
    assert world.process.child.wait(DEADLINE_SEC) == 0
    assert ("BotStopped", "carla") in world.kinds(11)
    assert list((world.shell.folder / ".trueup").glob("bot-*.json")) == []
    assert "No process of this folder runs many accounts" in world.shell.run("accounts").stderr
