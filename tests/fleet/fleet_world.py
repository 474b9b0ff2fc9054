"""A whole fleet of processes: PostgreSQL, nodes, gateways with simulated terminals that trade.

The strategy opens a position when there is none and closes it with a later sync, so every account
has an order about twice in an interval. The terminals' own ledgers judge
(`tests.support.fleet_gateways`).
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg

from tests.fleet.postgres_pair import PostgresPair, Way
from tests.journal.postgres_server import PostgresServer
from tests.paper.test_paper_processes import Running, Shell
from tests.support.asked import account_rows
from tests.support.fleet_gateways import WatchedGateways
from tests.support.many_gateways import FIRST_LOGIN
from tests.support.node_lines import NodeLines
from tests.support.servers import until
from trueup.core.book.book import Book
from trueup.core.book.events import OrderCreated
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.overview import Wanted, view_of
from trueup.doors.fleet.shards import shard_of
from trueup.errors import TrueupError
from trueup.journal import open_reader

DEADLINE_SEC = 120.0
Answer = TypeVar("Answer")
STRATEGY = """
import time


class Trades:
    def on_start(self, account):
        self.account, self.due = account, 0.0

    def on_sync(self, result):
        # A hint leads to a sync right after each order.
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + {pace_sec}
        positions = self.account.positions
        if positions:
            self.account.close(next(iter(positions)))
        else:
            self.account.submit("buy", 0.1, symbol="EURUSD")
"""


class FleetNode:
    """A process of `trueup fleet node`, in a folder of its own, as on a machine of its own.

    It has a way of its own to the database, and to its gateways if the world has lines.
    """

    def __init__(self, world: FleetWorld, number: int, ports: list[int]) -> None:
        self.name, self.number, self._world = f"n{number}", number, world
        folder = world.folder / self.name
        folder.mkdir()
        (folder / "mine.py").write_text(world.strategy, "utf-8")
        (folder / "accounts.toml").write_text(world.accounts_file(ports), "utf-8")
        self.shell = Shell(folder)
        self.way = world.way_in(folder)
        self.url = self.way.url(world.database, application_name=self.name)
        self.runs = 0
        self.process: Running
        self.start()

    def start(self) -> None:
        self.runs += 1
        self.process = self.shell.start(f"log{self.runs}", "fleet", "node", *self.options)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `trueup fleet node`."""
        lease = ("--name", self.name, "--lease", str(self._world.lease_sec))
        return ("--accounts", "accounts.toml", "--journal", self.url, *lease)

    def signal(self, number: int) -> None:
        self.process.child.send_signal(number)

    @property
    def pid(self) -> int:
        return self.process.child.pid

    def kill(self) -> None:
        self.process.child.kill()
        self.process.child.wait()

    def has_ended(self) -> bool:
        """Return whether the end that was asked for is over; an end that is none fails."""
        code = self.process.child.poll()
        assert not code, f"{self.name} ended with {code}"
        return code is not None

    def end(self) -> int:
        """End it as a service manager does; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.child.wait(DEADLINE_SEC)

    def clean(self) -> None:
        """End what is left of it."""
        if self.process.child.poll() is None:
            self.signal(signal.SIGCONT)
        self.shell.clean()

    def rows(self) -> list[dict[str, Any]]:
        """Its accounts, as `trueup accounts` lists them."""
        return list(account_rows(self.shell.folder).values())

    def text(self) -> str:
        """What all its processes have written."""
        logs = (self.shell.folder / f"log{run + 1}" for run in range(self.runs))
        return "".join(log.read_text("utf-8") for log in logs)

    def syncs(self) -> int:
        """How many syncs its accounts have made."""
        return sum(row["syncs"] for row in self.rows())


class FleetWorld:
    """The world; end it with its `with` block.

    With `has_lines`, each node reaches the gateways by a line of its own that can be cut. `kind`
    is what starts the nodes.
    """

    def __init__(
        self,
        folder: Path,
        server: PostgresServer | PostgresPair,
        accounts: int,
        nodes: int = 3,
        *,
        lease_sec: float = 2.0,
        interval_sec: float = 0.5,
        timeout_ms: int = 5_000,
        has_lines: bool = False,
        kind: type[FleetNode] = FleetNode,
    ) -> None:
        self.folder, self.server, self.lease_sec = folder, server, lease_sec
        self._interval_sec, self._timeout_ms = interval_sec, timeout_ms
        url = server.new_database()
        self.database = url.partition("@/")[2].partition("?")[0]
        self.url = self.way_in(folder / "w").url(self.database)
        self.strategy = STRATEGY.format(pace_sec=interval_sec / 2)
        self.names = [f"a{number}" for number in range(accounts)]
        self.nodes: dict[str, FleetNode] = {}
        self._fleet: Fleet | None = None
        with ExitStack() as undo:
            self.gateways = undo.enter_context(WatchedGateways(accounts))
            ports = [self.gateways.ports] * nodes
            if has_lines:
                self.lines = undo.enter_context(NodeLines(nodes, self.gateways.ports))
                ports = self.lines.ports
            undo.callback(self._leave_database)
            undo.callback(self._kill_nodes)
            for number in range(nodes):
                self.nodes[f"n{number}"] = kind(self, number, ports[number])
            until(self._has_tables, DEADLINE_SEC, pause_sec=0.05)
            self._undo = undo.pop_all()

    def accounts_file(self, ports: Iterable[int]) -> str:
        """Return the list of the accounts, whose gateways are at these ports."""
        head = (
            f"[defaults]\ninterval = {self._interval_sec}\n"
            f"timeout_ms = {self._timeout_ms}\n"
            'strategy = "mine:Trades"\nsymbols = ["EURUSD"]\n'
        )
        tables = (
            f'[accounts.a{number}]\ngateway = "tcp://127.0.0.1:{port}"\n'
            f'account = "{FIRST_LOGIN + number}@Simulated-Demo"\n'
            for number, port in enumerate(ports)
        )
        return head + "".join(tables)

    def way_in(self, folder: Path) -> Way:
        """Return another way to the database."""
        if isinstance(self.server, PostgresPair):
            return self.server.way(folder)
        return Way(folder, (self.server,))

    def _has_tables(self) -> bool:
        try:
            Fleet(self.url).__exit__()
        except Exception:  # noqa: BLE001 - not yet
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _kill_nodes(self) -> None:
        for node in self.nodes.values():
            node.clean()

    # The fleet.

    def _asked(self, question: Callable[[Fleet], Answer]) -> Answer:
        """Ask the database over the connection of the question before, if that is still there.

        Each wait asks again and again, and a server starts a process for each connection.
        """
        if self._fleet is not None:
            try:
                return question(self._fleet)
            except TrueupError:
                self._leave_database()
        self._fleet = Fleet(self.url)
        return question(self._fleet)

    def _leave_database(self) -> None:
        if self._fleet is not None:
            self._fleet.__exit__()
            self._fleet = None

    def status(self) -> dict[str, Any]:
        """The status, with the nodes by name, and the node of each account."""
        told, shards = self._asked(lambda fleet: (fleet.status(), fleet.shards))
        owners = {row["shard"]: row["node"] for row in told["owners"]}
        return {
            **told,
            "nodes": {node["name"]: node for node in told["nodes"]},
            "where": {name: owners.get(shard_of(name, shards), "") for name in self.names},
        }

    def counts(self) -> dict[str, int]:
        """How many accounts the nodes have told to be in each state."""
        counts = self._asked(lambda fleet: view_of(fleet, Wanted()).counts)
        return {state: count for state, count in counts.items() if count}

    def where(self) -> dict[str, str]:
        """The living node of each account; empty for none."""
        where: dict[str, str] = self.status()["where"]
        return where

    def run_by(self, *nodes: str) -> bool:
        """Whether all accounts are recovered, at these nodes alone, and evenly."""
        told = self.status()
        living = [told["nodes"][name] for name in nodes if name in told["nodes"]]
        believed = sum(node["believed"] for node in living)
        counts = Counter(told["where"].values())
        is_even = max(counts.values()) - min(counts.values()) <= 1
        return set(counts) == set(nodes) and is_even and believed == len(self.names)

    def when_run_by(self, *nodes: str) -> float:
        """Wait for `run_by`; return how long it took (seconds)."""
        began = time.monotonic()
        until(lambda: self.run_by(*nodes), DEADLINE_SEC, pause_sec=0.05)
        return time.monotonic() - began

    def when_state(self, name: str, state: str) -> None:
        """Wait until a node is told to be in a state."""
        until(lambda: self.status()["nodes"][name]["state"] == state, DEADLINE_SEC, pause_sec=0.05)

    def believed(self, nodes: Iterable[str]) -> bool:
        """Whether all accounts are at these nodes, and have been read there."""
        told = self.status()
        living = [told["nodes"][name] for name in nodes if name in told["nodes"]]
        believed = sum(node["believed"] for node in living)
        return set(told["where"].values()) <= set(nodes) and believed == len(self.names)

    def cut_off(self, name: str) -> None:
        """Cut a node off from the database."""
        self.nodes[name].way.cut()
        with psycopg.connect(self.url, autocommit=True) as connection:
            of_node = "FROM pg_stat_activity WHERE application_name = %s"
            connection.execute(f"SELECT pg_terminate_backend(pid) {of_node}".encode(), (name,))

    def reconnect(self, name: str) -> None:
        """Let a node reach the database again."""
        self.nodes[name].way.mend()

    def takeovers(self) -> int:
        """How often a journal was opened to write."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT sum(token) FROM journal_writers").fetchone()
            return int(row[0]) if row is not None else 0

    def paused(self) -> dict[str, int]:
        """How many accounts each person has paused."""
        rows = [row for node in self.nodes.values() for row in node.rows()]
        return dict(Counter(row["paused"] for row in rows))

    def when_synced(self, count: int) -> None:
        """Wait until the accounts of each node have made so many more syncs each."""
        for node in self.nodes.values():
            wanted = node.syncs() + count * len(node.rows())

            def has(node: FleetNode = node, wanted: int = wanted) -> bool:
                return node.syncs() >= wanted

            until(has, DEADLINE_SEC, pause_sec=0.05)

    def holders(self) -> dict[str, str]:
        """Who writes the journal of each stream, by the database."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT stream, holder FROM journal_writers")
            return dict(rows.fetchall())

    def stopped_by(self, who: str) -> int:
        """How often the journals have that somebody closed an account."""
        return self._told_by("BotStopped", who)

    def resumed_by(self, who: str) -> int:
        """How often the journals have that somebody ended a pause."""
        return self._told_by("TradingResumed", who)

    def _told_by(self, kind: str, who: str) -> int:
        text = "convert_from(payload, 'UTF8') LIKE %s"
        query = f"SELECT count(*) FROM journal_events WHERE kind = %s AND {text}"
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode(), (kind, f"%{who}%")).fetchone()
            return int(row[0]) if row is not None else 0

    def orders(self) -> int:
        """How many orders the terminals have executed."""
        return sum(self.judged(number)["orders"] for number in range(len(self.names)))

    def judged(self, number: int) -> dict[str, Any]:
        return self.gateways.judge(number)

    def trade(self, count: int) -> None:
        """Wait until every account has executed so many more orders."""
        self._more("orders", count)

    def read(self, count: int) -> None:
        """Wait until every account was read so many more times."""
        self._more("questions", count)

    def _more(self, what: str, count: int) -> None:
        numbers = range(len(self.names))
        before = [self.judged(number)[what] for number in numbers]

        def have() -> bool:
            return all(self.judged(n)[what] >= before[n] + count for n in numbers)

        until(have, DEADLINE_SEC, pause_sec=0.1)

    def faults(self) -> list[str]:
        """After all nodes have ended in order: everything that the ledgers do not agree with."""
        return [fault for number in range(len(self.names)) for fault in self._faults(number)]

    def _faults(self, number: int) -> list[str]:
        told, name = self.judged(number), self.names[number]
        stream = f"{FIRST_LOGIN + number}@Simulated-Demo/symbol=EURUSD"
        with open_reader(self.url, stream) as reader:
            history = list(reader.read())
            sound = reader.verify().sound
        book = Book().replay(history)
        created = {one.token for one in history if isinstance(one, OrderCreated)}
        tokens = Counter(told["tokens"])
        positions = sorted(book.holdings)
        found = [
            (
                f"lost: {[token for token in tokens if token not in created]}",
                not set(tokens) - created,
            ),
            (f"doubled: {tokens.most_common(1)}", all(n == 1 for n in tokens.values())),
            (f"more than one position {told['beside']} times", not told["beside"]),
            (f"{told['older']} executed under an older token", not told["older"]),
            (f"positions {positions}, not {told['positions']}", positions == told["positions"]),
            (f"in doubt: {list(book.in_doubt)}", not book.in_doubt),
            ("the chain is broken", sound),
        ]
        return [f"{name}: {text}" for text, holds in found if not holds]

    def refused(self) -> int:
        """How many orders of former owners the gateways have refused."""
        return sum(self.judged(number)["refused"] for number in range(len(self.names)))
