"""`trueup run --accounts postgresql://`, with more accounts than the server has connections."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.journal.conftest import server_programs
from tests.journal.postgres_server import PostgresServer
from tests.paper.test_paper_processes import Running, Shell
from tests.support.asked import account_rows
from tests.support.many_gateways import FIRST_LOGIN, ManyGateways
from tests.support.servers import until
from trueup.journal import open_reader

pytestmark = pytest.mark.timeout(300)
COUNT, SPARE = 16, 15
DEADLINE_SEC = 90.0
OURS = "application_name = 'trueup' AND datname = current_database()"
STRATEGY = """
class BuysOnce:
    def on_start(self, account):
        self.account = account

    def on_sync(self, result):
        if not self.account.positions:
            self.account.submit("buy", 0.1, symbol="EURUSD", key="only")
"""


class World:
    """The process, its gateways, and the database that has its accounts and their journals."""

    def __init__(self, folder: Path, server: PostgresServer, gateways: ManyGateways) -> None:
        self.url, self.gateways = server.new_database(), gateways
        self.shell = Shell(folder)
        (folder / "mine.py").write_text(STRATEGY, "utf-8")
        done = self.shell.run("config", "init", "--accounts", self.url)
        assert done.returncode == 0, done.stderr
        self.sql("INSERT INTO trueup_accounts (name, interval) VALUES ('*', 0.5)")
        for number in range(COUNT):
            if number != SPARE:
                self.add(number)
        self.process: Running = self.start("first.log")

    def start(self, log: str) -> Running:
        return self.shell.start(log, "run", "--accounts", self.url)

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def add(self, number: int) -> None:
        account = f"{FIRST_LOGIN + number}@Simulated-Demo"
        port = self.gateways.ports[number]
        self.sql(
            "INSERT INTO trueup_accounts (name, gateway, account, symbols, strategy) VALUES"
            f" ('a{number}', 'tcp://127.0.0.1:{port}', '{account}', '{{EURUSD}}', 'mine:BuysOnce')"
        )

    def rows(self) -> dict[str, Any]:
        return account_rows(self.shell.folder)

    def all_have(self, numbers: Iterable[int], **wanted: object) -> None:
        """Wait until accounts have these values."""

        def have() -> bool:
            rows = self.rows()
            names = [f"a{number}" for number in numbers]
            return all(
                rows.get(name, {}).get(key) == value
                for name in names
                for key, value in wanted.items()
            )

        until(have, DEADLINE_SEC, pause_sec=0.1)

    def kinds(self, number: int) -> list[tuple[str, str]]:
        """The kinds and authors of an account's journalled events."""
        stream = f"{FIRST_LOGIN + number}@Simulated-Demo/symbol=EURUSD"
        with open_reader(self.url, stream) as reader:
            assert reader.verify().sound
            return [(one.kind, getattr(one.event, "by", "")) for one in reader.records()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    # Three of them are kept for the administrator.
    server = PostgresServer(server_programs(), "max_connections=14")
    try:
        with ManyGateways(COUNT) as gateways:
            made = World(tmp_path, server, gateways)
            try:
                yield made
            finally:
                for child in made.shell.children:
                    if child.poll() is None:
                        child.kill()
                    child.wait()
    finally:
        server.remove()


def test_accounts_of_a_table_are_run_changed_killed_and_run_again(world: World) -> None:
    world.all_have(range(SPARE), state="running", positions=1)
    ((count,),) = world.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}")
    # Four to write, two to read, one that looks for changes.
    assert count <= 7
    # Changes of rows are changes of accounts, and a row with a fault changes nothing.
    world.sql("UPDATE trueup_accounts SET paused = true WHERE name = 'a3'")
    world.sql("UPDATE trueup_accounts SET magic = -1 WHERE name = 'a4'")
    world.sql("DELETE FROM trueup_accounts WHERE name = 'a5'")
    world.add(SPARE)
    world.all_have(range(SPARE, COUNT), state="running", positions=1)
    world.all_have(range(3, 4), paused="trueup_accounts")
    world.all_have(range(4, 5), state="running", paused="")
    until(lambda: "a5" not in world.rows(), DEADLINE_SEC, pause_sec=0.1)
    assert ("BotStopped", "trueup_accounts") in world.kinds(5)
    world.process.wait_for("trueup_accounts: row a4, column magic='-1' is not valid")
    # A table without accounts closes none.
    kept = "CREATE TABLE kept AS SELECT * FROM trueup_accounts; DELETE FROM trueup_accounts"
    world.sql(kept)
    world.process.wait_for("The change is not used, and all accounts stay as they are")
    world.sql(
        "INSERT INTO trueup_accounts SELECT * FROM kept;"
        " UPDATE trueup_accounts SET paused = NULL, magic = NULL"
    )
    world.all_have(range(3, 4), state="running", paused="")
    # Cut off in the midst, every account goes on, and none has a second order.
    world.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
    world.sql("UPDATE trueup_accounts SET paused = true WHERE name <> '*'")
    others = [number for number in range(COUNT) if number != 5]
    world.all_have(others, paused="trueup_accounts", state="running")
    # Killed, it leaves every stream to the next process.
    world.process.child.kill()
    world.process.child.wait()
    world.sql("UPDATE trueup_accounts SET paused = NULL WHERE name <> '*'")
    world.process = world.start("second.log")
    world.all_have(others, state="running", positions=1, paused="")
    # As a person reads it.
    told = json.loads(world.shell.run("accounts", "--json").stdout)["processes"]
    assert [len(one["accounts"]) for one in told] == [len(others)]
    for number in others:
        kinds = [kind for kind, _ in world.kinds(number)]
        assert (kinds.count("OrderCreated"), kinds.count("OrderFilled")) == (1, 1), number
    assert world.shell.run("stop", "--who", "carla").returncode == 0
    assert world.process.child.wait(DEADLINE_SEC) == 0
