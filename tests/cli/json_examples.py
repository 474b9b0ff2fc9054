"""An example of the JSON of every command that has `--json`, each made by the command itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from tests.cli.bot_world import FACTS, BotWorld
from tests.journal.postgres_server import PostgresServer
from tests.paper.test_paper_processes import Shell
from tests.support.desk_world import BUY, COSTLY, HEDGING, OTHER
from tests.support.order_world import OrderWorld
from tests.support.receivers import http_receiver
from tests.support.servers import ZmqServer
from trueup.cli import app
from trueup.cli.operate import bot as operate
from trueup.core.policy import Action, Policy
from trueup.doors.accounts.accounts_loop import AccountsLoop
from trueup.doors.accounts.control import AccountsControl
from trueup.doors.accounts.file import read_accounts
from trueup.doors.accounts.machine import AccountMachine
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.membership import Membership
from trueup.doors.fleet.tables import ensure_tables, fleet_database
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.control.bots import Bot
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import AnswerLost

ASKING = Policy(symbols=frozenset({"EURUSD"}), zombie=Action.ASK)
Example = Callable[["Place"], Any]


class Place:
    """A folder in which nothing runs, and the commands that run in it.

    Args:
        folder: the folder.
        patch: ends with the test.
        server: starts the server of the tests, or returns the one that runs.
    """

    def __init__(
        self,
        folder: Path,
        patch: pytest.MonkeyPatch,
        server: Callable[[], PostgresServer] | None = None,
    ) -> None:
        self.folder, self.patch, self.server = folder, patch, server

    def run(self, *arguments: str) -> Any:
        """Run a command in this process, and return its JSON."""
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.stdout, done.output
        return json.loads(done.stdout)

    def bot(self, world: BotWorld) -> BotWorld:
        """Let every command reach the bot of a world, with a turn of its loop before each."""

        def answer(_: Bot, command: str, **fields: Any) -> dict[str, Any]:
            world.turn()
            return world.tell(command, **fields)

        bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
        self.patch.setattr(operate, "find_bots", lambda: [bot])
        self.patch.setattr("trueup.runtime.control.line.ask_bot", answer)
        self.patch.setattr("trueup.runtime.control.line.AGAIN_SEC", 0.0)
        return world

    def asking(self) -> tuple[BotWorld, str]:
        """Return a bot that waits for approval of a position, and the id of the correction."""
        world = self.bot(BotWorld(policy=ASKING))
        world.broker.person.open("EURUSD", BUY, 0.05)
        world.loop.last_result = world.broker.sync()
        (hold,) = world.broker.reconciler.holds
        return world, hold.id


def plan(place: Place) -> Any:
    proposed(place.asking()[0])
    waiting = place.run("plan")
    place.bot(world := BotWorld())
    world.broker.lose_replies(1_000)
    return [waiting, place.run("plan")]


def fleet(*words: str) -> Example:
    """Return the example of a command to a fleet of one node, in a database of its own."""

    def example(place: Place) -> Any:
        assert place.server is not None
        url = place.server().new_database()
        database = fleet_database(url)
        database.connect()
        try:
            ensure_tables(database, 4)
            node = Membership(database, "vps1", "run", 60)
            node.join("vps1.example", 12)
            report = {"running": 3, "waiting": 1, "troubles": {"beta": "The gateway is away."}}
            node.beat(range(4), json.dumps(report))
            node.claim(range(4), 4, of_dead=False)
            with Fleet(url) as made:
                made.pause("alpha", "anna", "news")
            return place.run("fleet", *words, "--journal", url)
        finally:
            database.close()

    return example


def approve(place: Place) -> Any:
    world, hold = place.asking()
    return [place.run("approve", hold), place.run("approve", proposed(world))]


def reject(place: Place) -> Any:
    return place.run("reject", proposed(place.bot(BotWorld())), "--why", "too much")


def proposed(world: BotWorld) -> str:
    """Return the id of an order that an assistant has proposed."""
    at_ns = world.broker.clock.now_ns()
    wish = {"action": "open", "side": "buy", "volume": 0.1, "sl": 1.05}
    world.tell("propose", key="a", who="mcp:ada", why="news", wish=wish, at_ns=at_ns)
    world.turn(2)
    name: str = world.tell("outcome", id="a")["outcome"]["proposal_id"]
    return name


def rebind(place: Place) -> Any:
    world = place.bot(BotWorld(others=(OTHER,)))
    same = place.run("rebind", "--yes")
    assert world.broker.terminal.login(OTHER.login)
    world.loop.last_result = world.broker.sync()
    return [same, place.run("rebind", "--yes")]


def settle(place: Place) -> Any:
    # Without the gateway's record, which would have the outcome.
    place.patch.setattr("tests.support.desk_world.DeskWorld.keeps_record", False)
    broker = place.bot(BotWorld()).broker
    robot = Person(broker.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)
    broker.pm.submit("buy", 0.2, magic=7)
    broker.sync(200)
    broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = broker.pm.submit("buy", 0.1, magic=7)
    ticket = robot.open("EURUSD", BUY, 0.1)
    for _ in range(3):
        broker.sync(6)
    seen = place.run("settle", order.order_id)
    return [seen, place.run("settle", order.order_id, "--ticket", str(ticket), "--yes")]


def mode(command: str) -> Example:
    def example(place: Place) -> Any:
        broker = place.bot(BotWorld()).broker
        broker.pm.submit("buy", 0.1, limit=1.05)
        broker.sync()
        return place.run(command, "--why", "news")

    return example


def close(place: Place) -> Any:
    broker = place.bot(BotWorld()).broker
    ticket = broker.pm.submit("buy", 0.1).ticket
    broker.pm.submit("buy", 0.1, limit=1.05)
    broker.sync()
    return [place.run("close", str(ticket)), place.run("close", "all", "--yes")]


def sync(place: Place) -> Any:
    broker = place.bot(BotWorld()).broker
    broker.person.open("EURUSD", BUY, 0.1)
    return place.run("sync")


def stop(place: Place) -> Any:
    broker = place.bot(BotWorld()).broker
    broker.pm.submit("buy", 0.1)
    place.patch.setattr("trueup.cli.operate.loop.is_alive", lambda _: False)
    return place.run("stop", "--why", "the night")


def read(*arguments: str) -> Example:
    def example(place: Place) -> Any:
        traded(place)
        return place.run(*arguments, "--journal", "bot.db")

    return example


def verify(place: Place) -> Any:
    archive(place)
    sound = place.run("journal", "verify", "--journal", "bot.db")
    with sqlite3.connect(place.folder / "bot.db") as database:
        database.execute("UPDATE journal_events SET payload = '{}'")
    database.close()
    return [sound, place.run("journal", "verify", "--journal", "bot.db")]


def archive(place: Place) -> Any:
    words = ("--before", "1s", "--to", str(place.folder))
    return read("journal", "archive", *words)(place)


def traded(place: Place) -> OrderWorld:
    """A bot that has traded, and ended with an order in doubt; its journal is bot.db."""
    world = OrderWorld(journal=place.folder / "bot.db", specs=(COSTLY,))
    order = world.pm.submit("buy", 0.1)
    world.sync()
    world.pm.close(order.ticket)
    world.sync()
    deal = max(world.ledger.deals.values(), key=lambda one: one.ticket)
    world.ledger.rewrite_deal(replace(deal, commission=-7.77))
    world.pm.submit("sell", 0.1)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    world.pm.submit("buy", 0.1)
    world.pm.close_journal()
    return world


def at_a_gateway(*arguments: str, option: str = "") -> Example:
    def example(place: Place) -> Any:
        with ZmqServer(traded(place).desk.handle) as server:
            url = f"tcp://127.0.0.1:{server.port}"
            address = [option, url] if option else [url]
            return place.run(*arguments, *address)

    return example


def trade_list(place: Place) -> Any:
    shell = Shell(place.folder)
    try:
        shell.start("terminal.log", "terminal").wait_for("[TERMINAL] Simulated terminal")
        shell.ask("trade", "open", "buy", "0.1")
        return json.loads(shell.ask("trade", "list", "--json").stdout)
    finally:
        shell.clean()


def keys_show(place: Place) -> Any:
    CliRunner().invoke(app, ["keys", "new", "bot", "--dir", "keys"])
    return place.run("keys", "show", "bot", "--dir", "keys")


def status(place: Place) -> Any:
    traded(place)
    place.asking()
    return place.run("status", "--journal", "bot.db")


def config_show(place: Place) -> Any:
    place.folder.joinpath("trueup.toml").write_text("[limits]\nlots = 1.0\n", "utf-8")
    return place.run("config", "show")


def alerts(*arguments: str) -> Example:
    def example(place: Place) -> Any:
        traded(place)
        with http_receiver() as phone:
            place.patch.setenv("TRUEUP_ALERTS_TO", phone.url)
            return place.run("alerts", *arguments)

    return example


def accounts(place: Place) -> Any:
    """An account that is not opened yet, in a process that takes commands."""
    path = place.folder / "accounts.toml"
    path.write_text('[accounts.alpha]\ngateway = "tcp://127.0.0.1:1"\n', encoding="utf-8")
    clock = SystemClock()
    loop = AccountsLoop(clock)
    control = AccountsControl(loop, clock, lambda *_: None)
    (entry,) = read_accounts(path).entries
    loop.machines["alpha"] = AccountMachine(entry, clock, loop.late)
    try:
        return place.run("accounts")
    finally:
        control.close()
        loop.drop_all("", "")
        loop.run(lambda: None)


EXAMPLES: dict[str, Example] = {
    "status": status,
    "accounts": accounts,
    "fleet status": fleet("status"),
    "fleet drain": fleet("drain", "vps1"),
    "fleet move": fleet("move", "alpha", "vps1"),
    "fleet pause": fleet("pause"),
    "fleet resume": fleet("resume", "alpha"),
    "watch": at_a_gateway("watch", "--for", "1s", "--every", "0.2", option="--gateway"),
    "alerts": alerts("--once", "--journal", "bot.db"),
    "alerts test": alerts("test"),
    "plan": plan,
    "approve": approve,
    "reject": reject,
    "settle": settle,
    "pause": mode("pause"),
    "close-only": mode("close-only"),
    "resume": mode("resume"),
    "close": close,
    "sync": sync,
    "stop": stop,
    "rebind": rebind,
    "reconcile": at_a_gateway("reconcile", "--journal", "bot.db", option="--gateway"),
    "audit": read("audit"),
    "export trades": read("export", "trades"),
    "export deals": read("export", "deals"),
    "export orders": read("export", "orders"),
    "export pnl": read("export", "pnl"),
    "replay": read("replay", "--at", "now"),
    "drill": lambda place: place.run("drill", "--rounds", "1"),
    "doctor": at_a_gateway("doctor", "--journal", "bot.db", option="--gateway"),
    "config show": config_show,
    "conformance": at_a_gateway("conformance", "--trade"),
    "journal verify": verify,
    "journal info": read("journal", "info"),
    "journal archive": archive,
    "trade list": trade_list,
    "keys show": keys_show,
}


def objects(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of an example: itself, or those of its lists."""
    if isinstance(document, list):
        for entry in document:
            yield from objects(entry)
    else:
        yield document


def paths(value: Any, name: str = "") -> Iterator[str]:
    """Yield the path of every field, such as `rows[].check`."""
    if isinstance(value, list):
        for entry in value:
            yield from paths(entry, f"{name}[]")
    elif isinstance(value, dict):
        for key, below in value.items():
            path = f"{name}.{key}" if name else key
            yield path
            yield from paths(below, path)
