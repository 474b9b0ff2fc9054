"""What a node tells the fleet's tables of its accounts, in a real PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fleet.test_membership import SHARDS, World
from tests.fleet.test_rights import World as Behind
from tests.gateway.test_at_most_once import Gateway
from tests.support.servers import ZmqServer
from trueup.cli import app
from trueup.core.holds import Hold, HoldKind
from trueup.core.limits.modes import BY_FAILURE
from trueup.doors.accounts.file import read_accounts
from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.machine import STOPPED_BY_PERSON, AccountMachine, State
from trueup.doors.accounts.opened_account import OpenedAccount
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.membership import AccountRow, Membership, OwnedShard
from trueup.doors.fleet.shards import shard_of
from trueup.doors.fleet.tables import ensure_tables, fleet_database
from trueup.doors.fleet.telling import TOLD_AT_ONCE, Telling, row_of
from trueup.runtime.time.clock import SystemClock


@pytest.fixture
def world(url: str) -> Iterator[World]:
    with ExitStack() as undo:
        yield World(url, undo)


def rows_of(world: World) -> dict[str, tuple[str, ...]]:
    rows = world.sql.execute("SELECT account, state, sentence, paused_by FROM fleet_accounts")
    return {account: tuple(rest) for account, *rest in rows.fetchall()}


def machines_of(folder: Path, *names: str) -> dict[str, AccountMachine]:
    """Accounts that nobody opens."""
    path = folder / "accounts.toml"
    # Each has a gateway of its own: two names for one account would be a fault.
    tables = (
        f'[accounts.{name}]\ngateway = "tcp://127.0.0.1:{port}"\n'
        for port, name in enumerate(names, 1)
    )
    path.write_text("".join(tables), "utf-8")
    clock = SystemClock()
    return {one.name: AccountMachine(one, clock, Lateness()) for one in read_accounts(path).entries}


def claimed(node: Membership) -> dict[int, OwnedShard]:
    node.beat(range(SHARDS), "{}")
    return node.claim(range(SHARDS), SHARDS, of_dead=False)


def test_only_changes_are_told_and_what_left_the_list_is_forgotten(
    world: World, tmp_path: Path
) -> None:
    node = world.node("a")
    owned, telling = claimed(node), Telling(node, SHARDS)
    machines = machines_of(tmp_path, "x", "y", "z")
    machines["y"].trouble = "The gateway is away\0."
    machines["z"].state, machines["z"].trouble = State.STOPPED, STOPPED_BY_PERSON
    telling.tell(machines.values(), owned, machines)
    assert rows_of(world) == {
        "x": ("opening", "", ""),
        "y": ("retries", "The gateway is away.", ""),
        "z": ("stopped", STOPPED_BY_PERSON, ""),
    }
    before = world.sql.execute("SELECT max(xmin::text::bigint) FROM fleet_accounts").fetchall()
    telling.tell(machines.values(), owned, machines)
    after = world.sql.execute("SELECT max(xmin::text::bigint) FROM fleet_accounts").fetchall()
    assert after == before
    machines["y"].state = State.STOPPED
    del machines["z"]
    telling.tell(machines.values(), owned, machines)
    assert rows_of(world) == {
        "x": ("opening", "", ""),
        "y": ("needs person", "The gateway is away.", ""),
    }


def test_account_of_another_node_is_not_told_and_not_forgotten(
    world: World, tmp_path: Path
) -> None:
    first, second = world.node("a"), world.node("b")
    number = shard_of("x", SHARDS)
    mine = first.claim([number], 1, of_dead=False)
    machines = machines_of(tmp_path, "x")
    Telling(first, SHARDS).tell(machines.values(), mine, machines)
    # A node with another list, which has the rest of the shards.
    rest = claimed(second)
    assert number not in rest
    Telling(second, SHARDS).tell([], rest, ["other"])
    assert list(rows_of(world)) == ["x"]
    second.tell([AccountRow("x", number, mine[number].epoch, "runs")])
    assert rows_of(world)["x"][0] == "opening"


def test_node_that_was_frozen_does_not_replace_what_the_new_owner_told(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    number = shard_of("x", SHARDS)
    epoch = first.claim([number], 1, of_dead=False)[number].epoch
    world.pass_a_lease("a")
    taken = second.claim([number], 1, of_dead=True)[number].epoch
    second.tell([AccountRow("x", number, taken, "runs")])
    first.tell([AccountRow("x", number, epoch, "retries")])
    assert rows_of(world)["x"][0] == "runs"
    # Also where its statement began before the claim.
    world.sql.execute("UPDATE fleet_shards SET node = 'a', run = 'run of a', epoch = %s", (epoch,))
    first.tell([AccountRow("x", number, epoch, "retries")])
    assert rows_of(world)["x"][0] == "runs"


def test_state_keeps_its_time_until_it_changes(world: World) -> None:
    node = world.node("a")
    number = shard_of("x", SHARDS)
    epoch = node.claim([number], 1, of_dead=False)[number].epoch
    row = AccountRow("x", number, epoch, "retries", "one reason")
    node.tell([row])
    world.sql.execute("UPDATE fleet_accounts SET since = since - interval '1 hour'")
    hour_ago = world.sql.execute("SELECT since FROM fleet_accounts").fetchone()
    node.tell([row._replace(sentence="another reason")])
    assert world.sql.execute("SELECT since FROM fleet_accounts").fetchone() == hour_ago
    node.tell([row._replace(state="runs")])
    assert world.sql.execute("SELECT since FROM fleet_accounts").fetchone() != hour_ago


def test_many_accounts_are_told_over_several_heartbeats(world: World, tmp_path: Path) -> None:
    node = world.node("a")
    owned, telling = claimed(node), Telling(node, SHARDS)
    machines = machines_of(tmp_path, *(f"m{number}" for number in range(TOLD_AT_ONCE + 5)))
    telling.tell(machines.values(), owned, machines)
    assert len(rows_of(world)) == TOLD_AT_ONCE
    telling.tell(machines.values(), owned, machines)
    assert len(rows_of(world)) == TOLD_AT_ONCE + 5


def test_telling_that_fails_is_logged_once_and_told_again_as_a_whole(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = world.node("a")
    owned, telling = claimed(node), Telling(node, SHARDS)
    machines = machines_of(tmp_path, "x")
    telling.tell(machines.values(), owned, machines)
    world.sql.execute("ALTER TABLE fleet_accounts RENAME TO away")
    machines["x"].trouble = "no"
    with caplog.at_level(logging.WARNING):
        telling.tell(machines.values(), owned, machines)
        telling.tell(machines.values(), owned, machines)
    assert caplog.text.count("The states of the accounts could not be told") == 1
    world.sql.execute("ALTER TABLE away RENAME TO fleet_accounts")
    telling.tell(machines.values(), owned, machines)
    assert rows_of(world)["x"][:2] == ("retries", "no")


def test_running_account_needs_a_person_for_what_no_reading_ends(tmp_path: Path) -> None:
    gateway = Gateway()
    with ZmqServer(gateway.desk.handle) as server:
        world = Behind(tmp_path, server.port, gateway)
        machine = AccountMachine(world.entry, SystemClock(), Lateness())
        with world.opened() as opened:
            machine.state, machine.opened = State.RUNNING, opened

            def told() -> tuple[str, str]:
                row = row_of(machine, 1, 1)
                return row.state, row.sentence

            assert told() == ("runs", "")
            ask = Hold("EURUSD", "unknown position 7", "a person", kind=HoldKind.ASK)
            passing = Hold("EURUSD", "younger than the window", "time", kind=HoldKind.SETTLING)
            reconciler = opened.loop.reconciler
            reconciler.holds = (passing,)
            assert told() == ("runs", "")
            reconciler.holds = (passing, ask, ask)
            assert told() == ("needs person", "EURUSD: unknown position 7. And 1 more.")
            reconciler.holds = ()
            opened.account.pause(BY_FAILURE, why="division by zero.")
            assert told() == (
                "needs person",
                "The strategy failed and is paused: division by zero.",
            )
            opened.account.resume("anna")
            opened.account.pause("anna", why="news")
            assert row_of(machine, 1, 1)[3:] == ("runs", "", "anna", "news")


def test_running_account_that_is_not_read_is_tried_again(tmp_path: Path) -> None:
    gateway = Gateway()
    with ZmqServer(gateway.desk.handle) as server:
        world = Behind(tmp_path, server.port, gateway)
        machine = AccountMachine(world.entry, SystemClock(), Lateness())
        opened = OpenedAccount(world.entry, SystemClock())
        try:
            machine.state, machine.opened = State.RUNNING, opened
            assert row_of(machine, 1, 1).state == "opening"
            gateway.terminal.shutdown()
            opened.account.sync()
            row = row_of(machine, 1, 1)
            assert (row.state, bool(row.sentence)) == ("retries", True)
        finally:
            opened.close()


def test_acts_of_persons_are_kept_with_who_and_why(world: World) -> None:
    world.node("a")
    with Fleet(world.url) as fleet:
        fleet.drain("a", "anna", "new disk")
        fleet.undrain("a", "bert", "")
        fleet.move("x", "a", "anna", "nearer")
        assert fleet.pause("", "anna", "news")
        # What changes nothing is no act.
        assert not fleet.pause("", "bert", "")
        assert fleet.resume("", "bert", "over")
        assert not fleet.resume("", "bert", "over")
    rows = world.sql.execute("SELECT verb, account, node, who, why FROM fleet_acts ORDER BY number")
    assert rows.fetchall() == [
        ("drain", "", "a", "anna", "new disk"),
        ("undrain", "", "a", "bert", ""),
        ("move", "x", "a", "anna", "nearer"),
        ("pause", "", "", "anna", "news"),
        ("resume", "", "", "bert", "over"),
    ]


def test_fleet_of_an_earlier_release_gets_the_new_tables_and_works_without(world: World) -> None:
    world.sql.execute("DROP TABLE fleet_accounts")
    world.sql.execute("DROP TABLE fleet_acts")
    with Fleet(world.url) as fleet:
        assert not fleet.tells_accounts
        assert fleet.pause("x", "anna", "")
    database = fleet_database(world.url)
    database.connect()
    assert ensure_tables(database) == SHARDS
    database.close()
    with Fleet(world.url) as fleet:
        assert fleet.tells_accounts
        assert fleet.status()["pauses"][0]["account"] == "x"


def test_who_resumed_is_told_to_the_nodes(world: World) -> None:
    node = world.node("a")
    with Fleet(world.url) as fleet:
        for who in ("anna", "bert"):
            fleet.pause("x", who, "")
            fleet.resume("x", who, f"why of {who}")
        fleet.pause("x", "carl", "")
    paused = node.beat(range(SHARDS), "{}").pauses["x"]
    # An earlier release keeps no act: of this pause, nobody ended it.
    assert node.resumers({"x": paused}) == {}
    with Fleet(world.url) as fleet:
        fleet.resume("x", "dora", "over")
    assert node.resumers({"x": paused, "y": paused})["x"][1:] == ("dora", "over")


def test_whatever_fails_while_accounts_are_told_the_heartbeats_go_on(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = world.node("a")
    owned, telling = claimed(node), Telling(node, SHARDS)
    machines = machines_of(tmp_path, "x")
    # A path may have a byte that is no UTF-8; Python keeps it as half of a pair.
    machines["x"].trouble = "No file caf\udce9.py."
    telling.tell(machines.values(), owned, machines)
    assert rows_of(world)["x"][:2] == ("retries", "No file caf?.py.")
    machines["x"].trouble = "長" * 400
    telling.tell(machines.values(), owned, machines)
    assert rows_of(world)["x"][1].startswith("長長長")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            telling.tell(machines.values(), owned, ["x", "\udce9"])
    assert caplog.text.count("The states of the accounts could not be told") == 1
    telling.tell(machines.values(), owned, machines)
    assert list(rows_of(world)) == ["x"]


def test_account_that_left_the_list_is_forgotten_although_a_dead_node_had_its_shard(
    world: World,
) -> None:
    node, other = world.node("a"), world.node("b")
    of_node = node.claim([0, 1], 2, of_dead=False)
    of_other = other.claim([2, 3], 2, of_dead=False)
    node.tell(
        [AccountRow(f"x{number}", number, of_node[number].epoch, "runs") for number in (0, 1)]
    )
    other.tell(
        [AccountRow(f"x{number}", number, of_other[number].epoch, "runs") for number in (2, 3)]
    )
    # Given back while an order of a dead node may still arrive.
    other.give_back(3, of_other[3].epoch, as_dead=True)
    node.forget_accounts(["x0"])
    assert list(rows_of(world)) == ["x0", "x2"]
    world.pass_a_lease("b")
    node.forget_accounts(["x0"])
    assert list(rows_of(world)) == ["x0"]


@pytest.fixture
def limited(world: World) -> Iterator[str]:
    """The URL of a user with rights to the tables of an earlier release, who may make no table."""
    for statement in (
        "DROP TABLE fleet_accounts, fleet_acts",
        "CREATE ROLE operator LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO operator",
    ):
        world.sql.execute(statement)
    try:
        yield world.url.replace("trueup@", "operator@")
    finally:
        world.sql.execute("DROP OWNED BY operator")
        world.sql.execute("DROP ROLE operator")


def test_who_may_write_the_tables_of_before_may_write_those_that_came_later(
    world: World, limited: str
) -> None:
    database, owner = fleet_database(limited), fleet_database(world.url)
    database.connect()
    owner.connect()
    try:
        # Without the new tables it is a node all the same.
        assert ensure_tables(database) == SHARDS
        node = Membership(database, "a", "run of a", 60.0)
        assert node.join("here", 1) == ""
        owned = claimed(node)
        assert ensure_tables(owner) == SHARDS
        with Fleet(limited) as fleet:
            assert fleet.pause("x", "anna", "news")
        number = shard_of("x", SHARDS)
        node.tell([AccountRow("x", number, owned[number].epoch, "runs")])
        node.forget_accounts([])
        assert rows_of(world) == {}
    finally:
        database.close()
        owner.close()


def test_shell_says_that_the_name_of_an_account_may_be_wrong(world: World) -> None:
    node = world.node("a")
    number = shard_of("x", SHARDS)
    node.tell([AccountRow("x", number, claimed(node)[number].epoch, "runs")])

    def told(*words: str) -> str:
        done = CliRunner().invoke(app, ["fleet", *words, "--journal", world.url])
        assert done.exit_code == 0
        return done.stderr

    for words in (("pause", "x"), ("move", "x", "a"), ("pause",), ("pause", "y", "--json")):
        assert told(*words) == ""
    for words in (("pause", "z"), ("move", "z", "a")):
        assert told(*words) == "No node has told of an account 'z': check the name.\n"


@pytest.mark.parametrize(
    "words", [("pause", "x", "--why"), ("move", "x"), ("drain",), ("resume", "x", "--who")]
)
def test_text_that_is_no_utf8_is_refused(world: World, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["fleet", *words, "\udcff", "--journal", world.url])
    assert done.stderr == "'\\udcff' is not UTF-8: give names and reasons in UTF-8.\n"
