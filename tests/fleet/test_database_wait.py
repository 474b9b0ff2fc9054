"""A database that is away when a process of many accounts starts: waited for, or told at once."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.journal.conftest import own_postgres_server
from tests.journal.postgres_server import PostgresServer
from tests.paper.test_paper_processes import Running, Shell
from tests.support.asked import account_rows, accounts_of
from tests.support.many_gateways import FIRST_LOGIN, ManyGateways
from tests.support.posix_limits import posix_only
from tests.support.refusing_server import RefusingServer
from tests.support.servers import until
from trueup.doors.accounts.database_wait import DatabaseWait
from trueup.doors.accounts.stop import Stop, Stopped
from trueup.errors import JournalError
from trueup.journal.backends.server_away import is_away
from trueup.journal.database.database import ConnectionLost, Unreachable
from trueup.runtime.time.clock import ManualClock

__all__ = ["own_postgres_server"]
pytestmark = pytest.mark.timeout(300)
DEADLINE_SEC = 90.0
WAITS = "No order leaves until it is reached: it is looked for again, at least every 10 seconds."
NO_SERVER = "postgresql://trueup@127.0.0.1:1/trueup"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    (tmp_path / "accounts.toml").write_text(
        '[accounts.a0]\ngateway = "tcp://127.0.0.1:1"\nsymbols = ["EURUSD"]\n', "utf-8"
    )
    yield made
    made.clean()


def start_node(shell: Shell, url: str) -> Running:
    place = ("--accounts", "accounts.toml", "--journal", url)
    return shell.start("node.log", "fleet", "node", *place, "--name", "n0", "--lease", "2")


# Which server is away.


def test_server_that_does_not_answer_or_starts_is_away_in_any_language() -> None:
    assert is_away(NO_SERVER)
    assert is_away("postgresql://trueup@/trueup?host=/nowhere")
    with RefusingServer() as closing:
        assert is_away(closing.url)
    with RefusingServer("57P03", "das Datenbanksystem startet") as starting:
        assert is_away(starting.url)
    with RefusingServer("28P01", "Passwort-Authentifizierung fehlgeschlagen") as refusing:
        assert not is_away(refusing.url)


def test_name_of_no_machine_is_not_away_and_a_name_server_that_is_silent_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://trueup@db.invalid/trueup"

    def fails(number: int) -> None:
        def getaddrinfo(*_: object) -> None:
            raise socket.gaierror(number, "no")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    fails(socket.EAI_NONAME)
    assert not is_away(url)
    assert is_away(f"{url}?hostaddr=127.0.0.1&port=1")
    fails(socket.EAI_AGAIN)
    assert is_away(url)


def test_only_a_person_can_mend_what_the_server_refuses(
    own_postgres_server: PostgresServer,
) -> None:
    server = own_postgres_server
    url = server.new_database()
    assert not is_away(f"postgresql://trueup@/nowhere?host={server.folder}")
    assert not is_away(f"postgresql://nobody@/postgres?host={server.folder}")
    # A pair whose standby was not promoted yet: there is no server of the wanted kind.
    assert is_away(f"{url}&target_session_attrs=read-only")
    assert not is_away(f"{url.replace('trueup@', 'nobody@')}&target_session_attrs=read-only")
    server.stop()
    assert is_away(url)


# The wait, by a clock that the test sets.


class Database:
    """A database that is away for so many questions, with the times at which it was asked."""

    def __init__(self, clock: ManualClock, away: int, error: JournalError) -> None:
        self._clock, self._away, self._error = clock, away, error
        self._begin_ns = clock.waiting_ns()
        self.asked: list[float] = []

    def __call__(self) -> str:
        self.asked.append((self._clock.waiting_ns() - self._begin_ns) / 1e9)
        if len(self.asked) <= self._away:
            raise self._error
        return "here"


def unreachable(*, away: bool) -> Unreachable:
    return Unreachable("db cannot be reached.", remedy="start it", is_away=lambda: away)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    return ManualClock(1_700_000_000_000_000_000)


def test_looks_come_less_and_less_often(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (unreachable(away=True), ConnectionLost("db was lost.")):
        database = Database(clock, 8, error)
        caplog.clear()
        assert DatabaseWait(clock, Stop()).done(database) == "here"
        assert database.asked == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5, 45.5])
        said = [one for one in caplog.messages if one.startswith("[DATABASE]")]
        assert said == [
            f"[DATABASE] {error.with_remedy} {WAITS}",
            "[DATABASE] The database is reached",
        ]


def test_refusal_is_raised_at_once_unless_the_server_came_up_meanwhile(clock: ManualClock) -> None:
    refused = Database(clock, 9, unreachable(away=False))
    with pytest.raises(JournalError, match="db cannot be reached"):
        DatabaseWait(clock, Stop()).done(refused)
    assert refused.asked == [0, 0]
    came_up = Database(clock, 1, unreachable(away=False))
    assert DatabaseWait(clock, Stop()).done(came_up) == "here"


def test_wait_ends_with_a_stop_and_with_the_duration(clock: ManualClock) -> None:
    stop = Stop()
    stop()
    with pytest.raises(Stopped):
        DatabaseWait(clock, stop).done(Database(clock, 9, unreachable(away=True)))
    with pytest.raises(Unreachable):
        DatabaseWait(clock, Stop(), 3).done(Database(clock, 9, unreachable(away=True)))


def test_signal_interrupts_a_connection_and_nothing_after_it() -> None:
    stop = Stop()
    with pytest.raises(Stopped):
        stop.interrupting(stop)
    with pytest.raises(Stopped):
        stop.interrupting(lambda: pytest.fail("it has been stopped"))
    stop()


# Real processes, and a server that is started after them.


@posix_only
def test_node_waits_for_its_database_and_runs_when_it_comes(
    shell: Shell, own_postgres_server: PostgresServer
) -> None:
    server = own_postgres_server
    url = server.new_database()
    server.stop()
    with ManyGateways(1) as gateways:
        path = shell.folder / "accounts.toml"
        path.write_text(path.read_text("utf-8").replace(":1", f":{gateways.ports[0]}"), "utf-8")
        node = start_node(shell, url)
        node.wait_for(WAITS)
        told = shell.ask("accounts")
        assert told.returncode == 1
        assert "no account runs yet" in told.stdout
        assert "cannot be reached" in " ".join(told.stdout.split())
        assert "`trueup accounts` tells why" in " ".join(shell.ask("status").stdout.split())
        assert "waits for its database" in shell.ask("accounts", "--reread").stderr
        server.start()
        until(
            lambda: account_rows(shell.folder).get("a0", {}).get("state") == "running", DEADLINE_SEC
        )
        node.child.send_signal(signal.SIGTERM)
        assert node.child.wait(DEADLINE_SEC) == 0
    assert node.text().count(WAITS) == node.text().count("The database is reached") == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM fleet_nodes").fetchall() == [(0,)]


@posix_only
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "stop"])
def test_node_that_waits_ends_when_it_is_asked_to(shell: Shell, how: int | str) -> None:
    node = start_node(shell, NO_SERVER)
    node.wait_for(WAITS)
    if isinstance(how, int):
        node.child.send_signal(how)
    else:
        assert shell.ask("stop").returncode == 0
    assert node.child.wait(DEADLINE_SEC) == 0
    assert "Traceback" not in node.text()
    assert accounts_of(shell.folder) is None


@posix_only
def test_signal_ends_a_node_that_connects_to_a_silent_server(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://trueup@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=3000"
        node = start_node(shell, url)
        connection, _ = silent.accept()
        with connection:
            node.child.send_signal(signal.SIGTERM)
            assert node.child.wait(DEADLINE_SEC) == 0
    assert "Traceback" not in node.text()


@posix_only
def test_table_of_accounts_is_waited_for(shell: Shell, own_postgres_server: PostgresServer) -> None:
    server = own_postgres_server
    url = server.new_database()
    with ManyGateways(1) as gateways:
        assert shell.ask("config", "init", "--accounts", url).returncode == 0
        place = f"'tcp://127.0.0.1:{gateways.ports[0]}', '{FIRST_LOGIN}@Simulated-Demo'"
        columns = "name, gateway, account, symbols"
        server.run(
            url, f"INSERT INTO trueup_accounts ({columns}) VALUES ('a0', {place}, '{{EURUSD}}')"
        )
        server.stop()
        process = shell.start("run.log", "run", "--accounts", url)
        process.wait_for(WAITS)
        server.start()
        until(
            lambda: account_rows(shell.folder).get("a0", {}).get("state") == "running", DEADLINE_SEC
        )
        process.child.send_signal(signal.SIGTERM)
        assert process.child.wait(DEADLINE_SEC) == 0


def test_node_that_is_refused_ends_with_the_servers_reason(
    shell: Shell, own_postgres_server: PostgresServer
) -> None:
    server = own_postgres_server
    url = server.new_database()
    at = f"host={server.folder}"
    server.run(server.url(), "CREATE ROLE guest LOGIN PASSWORD 'right'")
    access = server.folder / "data" / "pg_hba.conf"
    access.write_text("local all trueup trust\nlocal all guest scram-sha-256\n", "utf-8")
    server.run(server.url(), "SELECT pg_reload_conf()")
    name = url.partition("@/")[2].partition("?")[0]
    for wrong, reason in (
        (f"postgresql://guest:wrong@/{name}?{at}", "password authentication failed"),
        (f"postgresql://trueup@/nowhere?{at}", 'database "nowhere" does not exist'),
        (f"postgresql://guest:right@/{name}?{at}", "permission denied for schema public"),
        ("postgresql://trueup@db.invalid/trueup", "failed to resolve host"),
        (f"postgresql://trueup@/{name}?{at}&nonsense=1", "nonsense"),
    ):
        place = ("--accounts", "accounts.toml", "--journal", wrong)
        done = shell.ask("fleet", "node", *place, "--duration", "60")
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
        assert WAITS not in done.stderr + done.stdout
        assert "wrong@" not in done.stderr
