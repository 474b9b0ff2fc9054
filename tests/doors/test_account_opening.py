"""An account that cannot be opened: nothing is held, and the next program may open it."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.account_world import AccountWorld
from tests.support.servers import ZmqServer, until
from trueup.core.claims import stream_of
from trueup.core.policy import Adopt, Policy
from trueup.doors.account import Account
from trueup.doors.local_gateway import LocalGateway, record_file
from trueup.errors import ClaimRefused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import Entry, RequestStore, StoreRefused, StoreTrouble
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.terminal import Terminal
from trueup.journal import open_journal
from trueup.runtime.control.state_files import state_folder

EURO = {"symbol": "EURUSD"}
ACCOUNT = "5000001@Simulated-Demo"


@pytest.fixture
def world(tmp_path: Path) -> AccountWorld:
    return AccountWorld(tmp_path)


def gateway(world: AccountWorld, tmp_path: Path) -> LocalGateway:
    return LocalGateway(world.called, claims=tmp_path / "claims", clock=world.clock)


def free(world: AccountWorld, journal: Path, stream: str) -> None:
    """Check that a stream has no writer."""
    open_journal(journal, stream, now_ns=world.clock.now_ns).close()


def opened(world: AccountWorld, tmp_path: Path, **options: Any) -> Account:
    return Account(
        gateway(world, tmp_path), journal=tmp_path / "bot.db", clock=world.clock, **options
    )


def test_an_account_whose_record_is_in_use_gives_claim_and_journal_back(
    world: AccountWorld, tmp_path: Path
) -> None:
    file = record_file(tmp_path / "bot.db", ACCOUNT)
    file.parent.mkdir()
    store = RequestStore(file, "other", world.clock.now_ns)
    used = gateway(world, tmp_path)
    with pytest.raises(StoreRefused):
        Account(used, journal=tmp_path / "bot.db", clock=world.clock)
    assert used.claimed is None
    store.close()
    with opened(world, tmp_path) as account:
        assert account.sync().errors == []


def test_an_account_whose_claim_is_refused_gives_its_journal_back(
    world: AccountWorld, tmp_path: Path
) -> None:
    with opened(world, tmp_path):
        with pytest.raises(ClaimRefused):
            Account(
                gateway(world, tmp_path),
                journal=tmp_path / "other.db",
                magics=[7],
                clock=world.clock,
            )
        free(world, tmp_path / "other.db", f"{ACCOUNT}/magic=7")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"symbols": ["X" * 129]}, "give names"),
        ({"account": "nonsense"}, "nonsense"),
    ],
    ids=["claim", "account"],
)
def test_an_account_with_a_value_that_is_not_valid_holds_nothing(
    world: AccountWorld, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    used = gateway(world, tmp_path)
    with pytest.raises(ValueError, match=said) as refused:
        Account(used, journal=tmp_path / "bot.db", clock=world.clock, **options)
    assert used.claimed is None
    # The traceback keeps the objects of the failed opening alive, as a debugger or a log does.
    stream = stream_of(ACCOUNT, symbols=options.get("symbols", ()))
    free(world, tmp_path / "bot.db", stream)
    assert said in str(refused.value)


def test_records_of_two_journals_or_two_streams_are_apart(tmp_path: Path) -> None:
    journals = ("postgresql://h/a", "postgresql://h/b", tmp_path / "a.db", tmp_path / "b.db")
    files = [record_file(journal, stream) for journal in journals for stream in ("s/1", "s_1")]
    assert len({*files}) == len(files)
    # The names of the user's own files are those of the journals and streams, run after run.
    assert files == [record_file(journal, name) for journal in journals for name in ("s/1", "s_1")]


URL = "postgresql://alice:first@db.example/trueup"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alice:second@db.example/trueup",
        "postgresql://bob@db.example/trueup",
        "postgres://db.example/trueup",
        "postgresql+psycopg://db.example/trueup?user=bob&password=x%20y&passfile=/p",
        "postgresql://db.example?dbname=trueup",
    ],
)
def test_the_record_of_a_database_is_the_same_for_every_user_and_password(url: str) -> None:
    assert record_file(url, ACCOUNT) == record_file(URL, ACCOUNT)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alice:first@db.example/other",
        "postgresql://alice:first@db.example:5433/trueup",
        "postgresql://alice:first@db2.example/trueup",
        "postgresql://alice:first@db.example",
        "postgresql://alice:first@db.example/trueup?options=-csearch_path%3Dother",
    ],
)
def test_the_record_of_another_database_is_another_one(url: str) -> None:
    assert record_file(url, ACCOUNT) != record_file(URL, ACCOUNT)


def named_by_the_whole_url(journal: str) -> Path:
    """The record of a journal as earlier releases named it."""
    hashed = hashlib.sha256(f"{journal}\n{ACCOUNT}".encode()).hexdigest()[:8]
    return state_folder() / "requests" / f"{ACCOUNT}-{hashed}.db"


def test_a_record_that_was_named_by_the_whole_url_is_found_and_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    earlier = named_by_the_whole_url(URL)
    earlier.parent.mkdir()
    store = RequestStore(earlier, "boot1", lambda: 1)
    store.add(Entry("A", 0, "", b"{}", None, None, "boot1", 1, "withdrawn", ended_ns=1))
    # What a killed program leaves: the file, and a log beside it.
    for path in list(earlier.parent.glob(f"{earlier.name}*")):
        shutil.copy(path, path.with_name(path.name.replace(".db", ".kept")))
    store.close()
    for path in list(earlier.parent.glob("*.kept*")):
        path.replace(path.with_name(path.name.replace(".kept", ".db")))
    file = record_file(URL, ACCOUNT)
    assert [path.name for path in earlier.parent.iterdir()] == [file.name]
    again = RequestStore(file, "boot2", lambda: 2)
    assert again.find("A") is not None
    again.close()
    assert record_file("postgresql://alice:second@db.example/trueup", ACCOUNT) == file


def test_a_record_that_is_in_use_under_its_earlier_name_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    earlier = named_by_the_whole_url(URL)
    earlier.parent.mkdir()
    store = RequestStore(earlier, "boot1", lambda: 1)
    with pytest.raises(StoreTrouble, match=r"cannot be renamed to .*locked"):
        record_file(URL, ACCOUNT)
    store.close()
    assert record_file(URL, ACCOUNT).exists()


def test_a_wider_scope_keeps_the_interval_and_a_portfolio_of_another_number_is_refused(
    world: AccountWorld, tmp_path: Path
) -> None:
    with opened(world, tmp_path, magics=[7]) as account:
        account.reconciler.sync_interval = 5
        for number in (0, 9):
            with pytest.raises(ValueError, match=f"magic={number} is not valid"):
                account.portfolio("EURUSD", magic=number)
        account.widen(9)
        assert account.reconciler.sync_interval == 5
        assert account.portfolio("EURUSD", magic=9).magic == 9


class Slow(ForwardingTerminal):
    """A terminal whose `order_send` goes on until another thread calls, or a moment is over."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.is_sending, self.other = threading.Event(), threading.Event()
        self.overlaps = 0

    def last_error(self) -> tuple[int, str]:
        return self._terminal.last_error()

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        if self.is_sending.is_set():
            self.overlaps += 1
            self.other.set()
        if function == "order_send":
            self.is_sending.set()
            self.other.wait(0.2)
        value = getattr(self._terminal, function)(*args, **kwargs)
        if function == "order_send":
            self.is_sending.clear()
        return value


def test_threads_that_share_a_gateway_in_the_process_call_its_terminal_in_turn(
    world: AccountWorld, tmp_path: Path
) -> None:
    slow = Slow(world.called)
    shared = LocalGateway(slow, claims=tmp_path / "claims", clock=world.clock)
    with Account(shared, journal=None, clock=world.clock) as account:
        account.sync()
        sender = threading.Thread(target=account.submit, args=("buy", 0.1), kwargs=EURO)
        sender.start()
        assert slow.is_sending.wait(60)
        shared.read()
        sender.join(60)
        assert (slow.overlaps, world.open_lots) == (0, 0.1)


def test_a_wider_scope_keeps_every_other_rule_of_the_policy(
    world: AccountWorld, tmp_path: Path
) -> None:
    policy = Policy(
        symbols=frozenset({"*"}),
        magics=frozenset({7}),
        adopt=Adopt.OURS,
        expects_stop_loss=True,
        grace_period_ms=60_000,
    )
    with opened(world, tmp_path, magics=[7], policy=policy) as account:
        account.widen(9)
        wider = account.reconciler.policy
    assert wider == msgspec.structs.replace(policy, magics=frozenset({7, 9}))


def test_a_new_journal_is_named_in_the_claim_with_its_first_event(
    world: AccountWorld, tmp_path: Path
) -> None:
    """The bot may be killed in its first minute: its next start is the same book, not a rival."""
    desk = Desk(world.called, "boot", world.clock.now_ns)

    def claims(server: ZmqServer) -> list[str]:
        asked = [json.loads(message) for message in server.seen]
        return [one.get("journal", "") for one in asked if one["action"] == "CLAIM"]

    with ZmqServer(desk.handle) as server, ExecutionGateway("127.0.0.1", server.port) as link:
        first = Account(link, journal=tmp_path / "bot.db", magics=[7])
        assert claims(server) == [""]
        assert first.sync().errors == []
        named = first.manager.journal_id
        assert named
        until(lambda: claims(server) == ["", named])
        # The process is gone without a word: its claim stays at the gateway.
        first.manager.close_journal()
        with ExecutionGateway("127.0.0.1", server.port) as again:
            second = Account(again, journal=tmp_path / "bot.db", magics=[7])
            assert second.sync().errors == []
            second.shut()
