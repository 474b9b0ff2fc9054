"""A record of requests for each account: whatever the port, no id runs twice."""

from __future__ import annotations

import logging
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.test_at_most_once import BUY, HEDGING, OTHER, Gateway
from tests.support.posix_limits import posix_only
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.account_files import (
    AccountRecords,
    data_folder,
    move_record,
    name_of,
)
from trueup.gateway.record.account_lock import AccountLock
from trueup.gateway.record.store import (
    ELSEWHERE,
    UNOPENED,
    Entry,
    RequestStore,
    StoreRefused,
    StoreTrouble,
)
from trueup.sim.terminal.terminal_faults import Fails

LOGIN, SERVER = HEDGING.login, HEDGING.server
NOW_NS = 1_700_000_000_000_000_000


class Accounts(Gateway):
    """A gateway that keeps a record for each account, and is started again in one folder."""

    records: AccountRecords

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__()

    def start(self, login: int | None = None) -> None:
        """Start the gateway; the one before it has ended."""
        if self.boots:
            self.records.close()
        self.boots += 1
        boot = f"boot{self.boots}"
        self.records = AccountRecords(self.folder, boot, self.clock.now_ns, login=login)
        self.desk = Desk(
            self.terminal, boot, self.clock.now_ns, store=self.records, crash=self._pass
        )

    def log_in(self, login: int) -> None:
        account = {one.login: one for one in (HEDGING, OTHER)}[login]
        assert self.terminal.login(account.login, account.password, account.server)
        self.wait(10)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.db"))

    @property
    def executed(self) -> int:
        """How many orders the broker has carried out, on both accounts."""
        ledgers = map(self.terminal.broker.ledger, (LOGIN, OTHER.login))
        return sum(len(ledger.positions) for ledger in ledgers)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Accounts]:
    made = Accounts(tmp_path)
    yield made
    made.records.close()


def entry(order_id: str, login: int = LOGIN, server: str = SERVER) -> Entry:
    made = Entry(order_id, login, server, b"{}", b"{}", b"{}", "boot", NOW_NS, "settled")
    return made._replace(reply=b"{}", ended_ns=NOW_NS)


def written(path: Path, *entries: Entry) -> Path:
    store = RequestStore(path, "boot", lambda: NOW_NS)
    for one in entries:
        assert store.add(one)
    store.close()
    return path


def killed(path: Path, order_id: str) -> None:
    """Let a process that is then killed write an id: what it wrote is in the log alone."""
    code = (
        "import os, sys; from pathlib import Path; "
        "from tests.gateway.test_account_records import entry; "
        "from trueup.gateway.record.store import RequestStore; "
        "store = RequestStore(Path(sys.argv[1]), 'boot', lambda: 1); "
        "store.add(entry(sys.argv[2])); os._exit(9)"
    )
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path), order_id], cwd=root, check=False, timeout=60
    )
    assert ended.returncode == 9


# The file.


def test_the_record_is_named_by_the_account_that_the_terminal_has(
    gateway: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    assert gateway.files() == []
    with caplog.at_level(logging.INFO, "trueup.record"):
        gateway.desk.tend()
    assert gateway.files() == [f"requests-{LOGIN}@{SERVER}.db"]
    path = gateway.folder / gateway.files()[0]
    assert caplog.messages == [
        f"[RECORD] Each order on {LOGIN}@{SERVER} is recorded in {path} before it is sent"
    ]


def test_a_repetition_after_a_new_start_gets_the_first_outcome(gateway: Accounts) -> None:
    first = gateway.ask(**BUY)
    gateway.start()
    again = gateway.ask(**BUY)
    assert (again["status"], again["ticket"], again["repeated"]) == (
        "FILLED",
        first["ticket"],
        True,
    )
    assert gateway.executed == 1


def test_a_key_and_the_orders_of_a_book_are_those_of_the_account_s_record(
    gateway: Accounts,
) -> None:
    named = {**BUY, "stream": "s", "journal": "j", "key": "k"}
    assert gateway.ask(**named)["status"] == "FILLED"
    gateway.start()
    again = gateway.ask(**{**named, "order_id": "B"})
    assert again["status"] == "REJECTED"
    assert "key 'k' of stream 's' was used before, for order A (FILLED, ticket" in again["error"]
    # Another key of the book, and the same key of another book, are free.
    assert gateway.ask(**{**named, "order_id": "C", "key": "k2"})["status"] == "FILLED"
    other = {**named, "order_id": "D", "stream": "s2", "journal": "j2"}
    assert gateway.ask(**other)["status"] == "FILLED"
    for asked in ({"stream": "s", "journal": "j"}, {"stream": "s"}):
        told = gateway.ask(action="SNAPSHOT", id=1, session="x", book=asked)["sent"]
        # B was refused before anything was sent, for the account that is known.
        assert [one["order_id"] for one in told["orders"]] == ["A", "C"]
    # On another account neither counts.
    gateway.log_in(OTHER.login)
    assert gateway.ask(**{**named, "order_id": "E"})["status"] == "FILLED"
    told = gateway.ask(action="SNAPSHOT", id=2, session="x", book={"stream": "s"})["sent"]
    assert [one["order_id"] for one in told["orders"]] == ["E"]


def test_each_account_has_a_record_of_its_own_and_an_id_is_one_request_all_the_same(
    gateway: Accounts,
) -> None:
    gateway.ask(**BUY)
    gateway.log_in(OTHER.login)
    assert "used before" in gateway.ask(**BUY)["error"]
    assert gateway.ask(**{**BUY, "order_id": "B"})["status"] == "FILLED"
    assert gateway.files() == [
        f"requests-{login}@{SERVER}.db" for login in sorted((LOGIN, OTHER.login))
    ]
    # Nor after a new start, which opens the other account's record alone.
    gateway.start()
    reply = gateway.ask(**BUY)
    assert reply["status"] == "REJECTED"
    assert "order_id='A' is in the record of another account" in reply["error"]
    assert gateway.ask(**{**BUY, "order_id": "B"})["repeated"]
    assert gateway.executed == 2


def test_outcomes_go_to_the_account_whose_order_it_was(gateway: Accounts) -> None:
    gateway.ask(**BUY)
    gateway.log_in(OTHER.login)
    gateway.ask(**{**BUY, "order_id": "B"})
    gateway.log_in(LOGIN)
    gateway.ask(**{**BUY, "order_id": "C"})
    gateway.records.close()
    for login, ids in ((LOGIN, "AC"), (OTHER.login, "B")):
        store = RequestStore(gateway.folder / f"requests-{login}@{SERVER}.db", "x", lambda: 1)
        found = [one for one in map(store.find, "ABC") if one is not None]
        assert [(one.order_id, one.state) for one in found] == [(id_, "settled") for id_ in ids]
        store.close()


def test_an_outcome_that_comes_after_the_account_changed_goes_to_the_one_that_asked(
    gateway: Accounts,
) -> None:
    gateway.ask(**BUY)
    records = gateway.records
    under_way = entry("late")._replace(state="prepared", reply=None, ended_ns=None)
    assert records.add(under_way)
    gateway.log_in(OTHER.login)
    gateway.ask(**{**BUY, "order_id": "B"})
    records.end("late", "settled", b'{"order_id":"late","status":"FILLED"}')
    found = records.find("late")
    assert found is not None
    records.close()
    for login, state in ((LOGIN, "settled"), (OTHER.login, None)):
        store = RequestStore(gateway.folder / f"requests-{login}@{SERVER}.db", "x", lambda: 1)
        kept = store.find("late")
        assert (kept and kept.state) == state
        store.close()


def test_before_the_account_is_known_an_id_that_came_before_is_unknown_and_never_rejected(
    gateway: Accounts,
) -> None:
    """A bot that lost the answer asks a gateway that has just started, and would send another."""
    gateway.ask(**BUY)
    gateway.start()
    gateway.terminal.faults.next_call("account_info", Fails())
    reply = gateway.ask(**BUY)
    assert (reply["order_id"], reply["status"], reply["repeated"]) == ("A", "UNKNOWN", True)
    gateway.terminal.faults.next_call("account_info", Fails())
    assert gateway.ask(**{**BUY, "order_id": "new"})["status"] == "REJECTED"
    assert gateway.ask(**BUY)["status"] == "FILLED"
    assert gateway.executed == 1


def test_before_the_account_is_known_no_doubt_is_settled(gateway: Accounts) -> None:
    assert gateway.records.unsettled() == gateway.records.since(0) == []
    asked = {"action": "REQUEST_STATUS", "order_id": "A"}
    assert gateway.ask(**asked)["status"] == "FAILED"
    assert "has not said yet which account it has" in gateway.ask(**asked)["error"]


def test_with_a_login_no_other_account_is_ever_begun(gateway: Accounts) -> None:
    """It may be served by a gateway of its own, which must not be locked out."""
    gateway.start(login=OTHER.login)
    gateway.desk.tend()
    gateway.clock.advance(1)
    gateway.desk.tend()
    assert gateway.files() == []
    assert list(gateway.folder.glob("*.lock")) == []


@posix_only
def test_a_folder_that_it_makes_is_its_user_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "trueup"
    records = AccountRecords(folder, "boot", lambda: NOW_NS)
    records.serve(LOGIN, SERVER)
    records.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# Two gateways.


def test_an_account_that_another_process_serves_is_refused_naming_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; "
        "from trueup.gateway.record.account_lock import AccountLock; "
        "lock = AccountLock(Path(sys.argv[1]), 'x'); print(os.getpid(), flush=True); input()"
    )
    path = tmp_path / f"requests-{LOGIN}@{SERVER}.lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as other:
        assert other.stdout is not None
        pid = other.stdout.readline().strip()
        records = AccountRecords(tmp_path, "boot", lambda: NOW_NS)
        with pytest.raises(StoreRefused, match=f"{LOGIN}@{SERVER} is served .* process {pid}: end"):
            records.serve(LOGIN, SERVER)
        # Nothing of it was touched, and any other account can be had.
        assert list(tmp_path.glob("*.db")) == []
        assert records.serve(LOGIN + 1, SERVER)
        other.kill()
    assert records.serve(LOGIN, SERVER)
    records.close()


def test_an_order_for_an_account_that_another_gateway_serves_is_not_sent(
    gateway: Accounts,
) -> None:
    gateway.ask(**BUY)
    other = AccountRecords(gateway.folder, "other", gateway.clock.now_ns)
    other.serve(OTHER.login, SERVER)
    gateway.log_in(OTHER.login)
    reply = gateway.ask(**{**BUY, "order_id": "B"})
    assert reply["status"] == "REJECTED"
    assert "is served by another gateway on this machine" in reply["error"]
    gateway.log_in(LOGIN)
    assert gateway.ask(**{**BUY, "order_id": "B"}) == {**reply, "repeated": True}
    assert gateway.ask(**{**BUY, "order_id": "C"})["status"] == "FILLED"
    other.close()


def test_an_id_that_came_before_is_unknown_where_the_account_is_another_gateway_s(
    gateway: Accounts,
) -> None:
    gateway.ask(**BUY)
    gateway.start()
    lock = AccountLock(gateway.folder / f"requests-{LOGIN}@{SERVER}.lock", "x")
    assert gateway.ask(**BUY)["status"] == "UNKNOWN"
    assert gateway.ask(**{**BUY, "order_id": "new"})["status"] == "REJECTED"
    with pytest.raises(StoreRefused):
        gateway.desk.tend()
    lock.release()


def test_an_id_is_unknown_while_the_account_s_own_file_cannot_be_read(gateway: Accounts) -> None:
    """An earlier gateway hangs in a call and still has the file, in which the order is."""
    first = gateway.ask(**BUY)
    gateway.records.close()
    earlier = RequestStore(gateway.folder / gateway.files()[0], "earlier", gateway.clock.now_ns)
    gateway.start()
    for order_id in ("A", "new"):
        assert gateway.ask(**{**BUY, "order_id": order_id})["status"] == "UNKNOWN"
    earlier.close()
    assert gateway.ask(**BUY) == {**first, "repeated": True}
    assert gateway.executed == 1


# Files that were named by port.


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_the_record_of_a_port_becomes_that_of_the_account(
    tmp_path: Path, is_killed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    earlier = tmp_path / "requests-5555.db"
    if is_killed:
        killed(earlier, "A")
        assert earlier.with_name("requests-5555.db-wal").stat().st_size > 0
    else:
        written(earlier, entry("A"))
    records = AccountRecords(tmp_path, "boot", lambda: NOW_NS)
    before = records.find("A")
    assert before is not None
    assert before.state == UNOPENED
    assert records.serve(LOGIN, SERVER)
    found = records.find("A")
    assert found is not None
    assert (found.state, found.number) == ("settled", 1)
    assert not list(tmp_path.glob("requests-5555*"))
    assert caplog.messages == [f"[RECORD] {earlier} is requests-{LOGIN}@{SERVER}.db from now on"]
    records.close()


def test_a_record_that_has_another_account_too_is_left_alone_and_its_ids_are_taken(
    tmp_path: Path,
) -> None:
    both = written(tmp_path / "requests-5555.db", entry("A"), entry("B", OTHER.login))
    written(tmp_path / "requests-5556.db", entry("C"))
    records = AccountRecords(tmp_path, "boot", lambda: NOW_NS)
    records.serve(LOGIN, SERVER)
    assert both.exists()
    states = {one.order_id: one.state for one in map(records.find, "ABC") if one is not None}
    assert states == {"A": ELSEWHERE, "B": ELSEWHERE, "C": "settled"}
    records.close()


def test_a_record_is_renamed_with_all_that_is_in_it(tmp_path: Path) -> None:
    earlier, path = written(tmp_path / "earlier.db", entry("A")), tmp_path / "later.db"
    move_record(earlier, path)
    assert [one.name for one in tmp_path.iterdir()] == ["later.db"]
    store = RequestStore(path, "boot", lambda: NOW_NS)
    assert store.find("A") is not None
    store.close()


def test_a_record_that_cannot_be_renamed_stays_and_the_reason_is_told(tmp_path: Path) -> None:
    def refused(name: str, to: Path = tmp_path / "later.db") -> str:
        with pytest.raises(StoreTrouble) as trouble:
            move_record(tmp_path / name, to)
        assert (tmp_path / name).exists()
        return str(trouble.value).removeprefix(f"{tmp_path / name} cannot be renamed to later.db")

    (tmp_path / "notes.db").write_text(
        "no database at all, and longer than its header", encoding="utf-8"
    )
    assert refused("notes.db") == " (file is not a database)."
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()
    assert refused("other.db") == " (it is a database of something else)."
    written(tmp_path / "mine.db", entry("A"))
    nowhere = tmp_path / "nowhere" / "later.db"
    assert refused("mine.db", nowhere) == " (No such file or directory)."
    held = RequestStore(tmp_path / "mine.db", "other", lambda: NOW_NS)
    assert refused("mine.db") == " (database is locked)."
    held.close()


def test_files_of_others_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(tmp_path / "requests-1.db") as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()
    (tmp_path / "requests-2.db").write_text(
        "no database at all, and longer than its header", encoding="utf-8"
    )
    held = RequestStore(tmp_path / "requests-3.db", "other", lambda: NOW_NS)
    held.add(entry("A"))
    before = {path: path.read_bytes() for path in tmp_path.glob("requests-[12].db")}
    records = AccountRecords(tmp_path, "boot", lambda: NOW_NS)
    # The file that is in use is that of a gateway that runs, which is no news.
    because = {1: "it is a database of something else", 2: "file is not a database"}
    assert caplog.messages == [
        f"[RECORD] {tmp_path / f'requests-{number}.db'} cannot be read, and is left alone: {why}"
        for number, why in because.items()
    ]
    assert records.serve(LOGIN, SERVER)
    assert {path: path.read_bytes() for path in before} == before
    assert held.find("A") is not None
    records.close()
    held.close()


def test_one_file_for_all_accounts_is_opened_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "mine.db", entry("A"))
    with caplog.at_level(logging.INFO, "trueup.record"):
        records = AccountRecords(tmp_path, "boot", lambda: NOW_NS, file=path)
    assert caplog.messages == [f"[RECORD] Each order is recorded in {path} before it is sent"]
    assert records.find("A") is not None
    records.serve(LOGIN, SERVER)
    records.serve(OTHER.login, SERVER)
    records.add(entry("B", OTHER.login))
    records.close()
    assert sorted(one.name for one in tmp_path.glob("*.db")) == ["mine.db"]


def test_nothing_is_written_before_the_account_is_known(tmp_path: Path) -> None:
    records = AccountRecords(tmp_path, "boot", lambda: NOW_NS)
    with pytest.raises(StoreTrouble, match="has not said yet which account"):
        records.add(entry("A"))
    with pytest.raises(StoreTrouble, match="has not said yet which account"):
        records.mark()


@given(st.text(), st.text())
def test_two_servers_have_two_names_that_any_file_can_have(one: str, other: str) -> None:
    names = [name_of(7, server) for server in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all(name.isascii() and not set(name) & set('/\\:*?"<>| ') for name in names)


def test_a_real_account_s_record_is_where_programs_keep_their_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = Path.home()
    for system, named, place, usual in (
        ("win32", "LOCALAPPDATA", tmp_path, home / "AppData" / "Local"),
        ("linux", "XDG_STATE_HOME", tmp_path, home / ".local" / "state"),
        ("darwin", "XDG_STATE_HOME", home / "Library" / "Application Support", None),
    ):
        with monkeypatch.context() as there:
            there.setattr(sys, "platform", system)
            there.setenv(named, str(tmp_path))
            assert data_folder() == place / "trueup"
            there.delenv(named)
            assert data_folder() == (usual or place) / "trueup"


def test_a_doubt_is_covered_by_the_record_that_it_names_alone(gateway: Accounts) -> None:
    gateway.ask(**BUY)
    mark = gateway.records.mark()
    gateway.log_in(OTHER.login)
    gateway.ask(**{**BUY, "order_id": "B"})
    assert gateway.records.mark().id != mark.id
    assert gateway.records.covers(mark)
    gateway.start()
    gateway.desk.tend()
    assert not gateway.records.covers(mark)
