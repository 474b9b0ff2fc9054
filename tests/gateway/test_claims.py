"""Claims at a gateway: granted, refused by name, renewed, given away, known after a restart."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.test_at_most_once import HEDGING, OTHER, Gateway
from tests.support.desk_world import DeskWorld
from tests.support.forking import needs_fork, program
from tests.support.posix_limits import posix_only
from tests.support.servers import ZmqServer, until
from trueup.core.claims import WriterClaim, has_order, why_taken
from trueup.core.scope import Scope
from trueup.core.tokens import magic_with_token
from trueup.errors import (
    ClaimRefused,
    NotSent,
    OutcomeUnknown,
    Refused,
    RemoteProtocolError,
    TrueupError,
)
from trueup.gateway.access.admission import Terms
from trueup.gateway.access.keys import new_keys
from trueup.gateway.client import claiming
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.renewals import Renewals
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record import claims as claims_module
from trueup.gateway.record import store as store_module
from trueup.gateway.record.account_files import AccountRecords
from trueup.gateway.record.store import RequestStore
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.protocol.claims import LEASE_MS
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.terminal_faults import Fails

ROOT = Path(__file__).resolve().parents[2]
LEASE_SEC = LEASE_MS / 1_000
HERE = f"{HEDGING.login}@{HEDGING.server}"
ORDER_IDS = itertools.count()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "requests.db")
    yield made
    made.store.close()


def claim(
    gateway: Gateway | DeskWorld, run: str, *magics: int, journal: str = "", **more: Any
) -> dict[str, Any]:
    names = {"stream": f"stream-{run}", "process": 12, "host": "vps"}
    release = more.pop("release", False)
    scope = {"run": run, "magics": magics, **names, **more}
    request = {"action": "CLAIM", "scope": scope, "journal": journal, "release": release}
    reply: dict[str, Any] = json.loads(gateway.desk.handle(json.dumps(request).encode()))
    return reply


def order(gateway: Gateway, run: str = "", magic: int = 7, **more: Any) -> dict[str, Any]:
    wanted = {"action": "BUY", "symbol": "EURUSD", "volume": 0.1, "magic": magic, "claim": run}
    return gateway.ask(order_id=f"order-{next(ORDER_IDS)}", **{**wanted, **more})


# Granting.


def test_overlapping_claim_is_rejected_by_name_and_a_disjoint_one_is_granted(
    gateway: Gateway,
) -> None:
    granted = {"status": "SUCCESS", "account": HERE, "lease_ms": LEASE_MS}
    assert claim(gateway, "a", 7) == granted
    assert claim(gateway, "b", 8) == granted
    assert claim(gateway, "c", 7, 9) == {
        "status": "REJECTED",
        "account": HERE,
        "error": "every symbol, magic 7 is claimed by stream 'stream-a' (process 12 on vps, since "
        "2023-11-14 22:13:20 UTC); end that one, or give one of the two other magic numbers or "
        "other symbols",
    }
    assert claim(gateway, "c", symbols=["EURUSD"])["status"] == "REJECTED"
    # Nothing of the rejected claims is held.
    assert claim(gateway, "d", 9) == granted


def test_holder_widens_and_narrows_its_claim_by_claiming_again(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    claim(gateway, "b", 8)
    gateway.wait(5)
    assert claim(gateway, "a", 7, 8)["status"] == "REJECTED"
    assert claim(gateway, "a", 7, 9)["status"] == "SUCCESS"
    refused = claim(gateway, "b", 8, 9)["error"]
    # It has held its claim since it claimed first.
    assert "since 2023-11-14 22:13:20 UTC" in refused
    assert claim(gateway, "a", 7)["status"] == "SUCCESS"
    assert claim(gateway, "b", 8, 9)["status"] == "SUCCESS"


def test_released_claim_is_free_at_once(gateway: Gateway) -> None:
    claim(gateway, "a")
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    assert claim(gateway, "a", release=True) == {"status": "SUCCESS", "account": HERE}
    assert claim(gateway, "b", 7)["status"] == "SUCCESS"
    # To release what is not held changes nothing.
    assert claim(gateway, "a", release=True)["status"] == "SUCCESS"
    assert claim(gateway, "c", 7)["status"] == "REJECTED"


def test_claim_of_another_account_is_rejected_and_accounts_are_apart(gateway: Gateway) -> None:
    other = f"{OTHER.login}@{OTHER.server}"
    assert claim(gateway, "a", account=other) == {
        "status": "REJECTED",
        "account": HERE,
        "error": f"it is for account {other}, and the terminal is logged in to {HERE}",
    }
    assert claim(gateway, "a", account=HERE)["status"] == "SUCCESS"
    assert gateway.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    assert claim(gateway, "b", account=other)["status"] == "SUCCESS"


def test_claim_without_an_account_at_the_terminal_fails(gateway: Gateway) -> None:
    gateway.terminal.faults.next_call("account_info", Fails())
    assert claim(gateway, "a")["status"] == "FAILED"
    assert claim(gateway, "a")["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ({"run": ""}, "give the claim a name"),
        ({"run": "a", "magics": list(range(101))}, "at most 100 magic numbers"),
        ({"run": "a", "symbols": [""]}, "give names"),
        ({"run": "a", "magics": [-1]}, "magics has -1"),
        ({"run": "a\ud800"}, "a part of a character"),
        (None, "CLAIM needs a scope"),
    ],
)
def test_scope_that_is_not_valid_is_an_error(gateway: Gateway, scope: Any, said: str) -> None:
    reply = gateway.ask(action="CLAIM", scope=scope)
    assert (reply["status"], said in reply["error"]) == ("ERROR", True)


# Leases.


def handed_over(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What the log says of claims that another writer has now, with its levels."""
    return [
        (one.levelno, one.getMessage())
        for one in caplog.records
        if "has the claim" in one.getMessage()
    ]


def test_claim_of_a_dead_holder_ends_after_the_lease_when_another_claims(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    claim(gateway, "a", 7)
    gateway.wait(LEASE_SEC)
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    gateway.wait(0.001)
    assert claim(gateway, "b", 7)["status"] == "SUCCESS"
    now, former = (
        f"stream 'stream-{run}' (process 12 on vps, since 2023-11-14 {since} UTC)"
        for run, since in (("b", "22:14:20"), ("a", "22:13:20"))
    )
    assert handed_over(caplog) == [
        (logging.WARNING, f"[RECORD] {now} has the claim of {former} now")
    ]


@pytest.mark.parametrize(
    "request_of_its",
    [
        {"action": "SNAPSHOT", "session": "s", "id": 1},
        {"action": "GET_POSITIONS"},
        {"action": "BUY", "order_id": "x-1", "symbol": "EURUSD", "volume": 0.1, "magic": 7},
    ],
    ids=str,
)
def test_any_request_of_the_holder_renews_its_claim(
    gateway: Gateway, request_of_its: dict[str, Any]
) -> None:
    claim(gateway, "a", 7)
    gateway.wait(LEASE_SEC)
    gateway.ask(**request_of_its, claim="a")
    gateway.wait(LEASE_SEC)
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    gateway.wait(1)
    assert claim(gateway, "b", 7)["status"] == "SUCCESS"


def test_holder_that_only_slept_goes_on(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    gateway.wait(100 * LEASE_SEC)
    assert order(gateway, "a")["status"] == "FILLED"
    assert claim(gateway, "b", 7)["status"] == "REJECTED"


def test_claim_that_was_silent_for_less_than_a_day_stays_beside_another(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    gateway.wait(80_000)
    claim(gateway, "b", 8)
    assert order(gateway, "a")["status"] == "FILLED"


def test_claim_that_was_lost_and_granted_again_is_as_old_as_the_second_grant(
    gateway: Gateway,
) -> None:
    claim(gateway, "a", 7)
    gateway.wait(LEASE_SEC + 1)
    claim(gateway, "b", 7)
    claim(gateway, "b", release=True)
    assert claim(gateway, "a", 7)["status"] == "SUCCESS"
    assert "since 2023-11-14 22:13:20" not in claim(gateway, "b", 7)["error"]


def test_latest_renewals_are_remembered_where_there_are_too_many(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "RENEWALS_KEPT", 2)
    gateway.wait(LEASE_SEC)
    for number, run in enumerate("abc"):
        claim(gateway, run, number)
    gateway.wait(1)
    # The renewal of the first is forgotten: it has sent nothing since the gateway began.
    assert [claim(gateway, "d", number)["status"] for number in (2, 1, 0)] == [
        *("REJECTED", "REJECTED", "SUCCESS")
    ]


def test_claim_that_was_silent_for_a_day_is_forgotten(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    gateway.wait(86_401)
    claim(gateway, "b", 8)
    assert [row.name for row in gateway.store.claims(HEDGING.login, HEDGING.server)] == ["b"]


# Restarts.


def test_restarted_gateway_knows_the_claims_and_gives_each_a_lease(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    gateway.wait(LEASE_SEC)
    gateway.start()
    gateway.wait(LEASE_SEC)
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    assert order(gateway, "a")["status"] == "FILLED"
    gateway.start()
    gateway.wait(LEASE_SEC + 1)
    assert claim(gateway, "b", 7)["status"] == "SUCCESS"


def test_restarted_program_takes_its_own_claim_over_at_once(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    claim(gateway, "a", 7, journal="j", stream="s")
    assert claim(gateway, "b", 7, 8, journal="k", stream="s")["status"] == "REJECTED"
    assert claim(gateway, "b", 7, 8, journal="j", stream="t")["status"] == "REJECTED"
    with caplog.at_level(logging.INFO, "trueup.record"):
        assert claim(gateway, "b", 7, 8, journal="j", stream="s")["status"] == "SUCCESS"
    # An everyday event, and no warning.
    assert [level for level, _ in handed_over(caplog)] == [logging.INFO]
    # The run before may live on, where a journal was copied: its orders are refused by name.
    refused = order(gateway, "a")
    assert refused["status"] == "REJECTED"
    assert refused["error"] == (
        "not sent: its claim was given to stream 's' (process 12 on vps, since "
        "2023-11-14 22:13:20 UTC) meanwhile: claim again"
    )
    # And it does not take the claim back, from a program that runs.
    assert claim(gateway, "a", 7, journal="j", stream="s")["status"] == "REJECTED"
    assert order(gateway, "b")["status"] == "FILLED"


def test_stream_without_a_journal_takes_nothing_over(gateway: Gateway) -> None:
    claim(gateway, "a", 7, stream="s")
    assert claim(gateway, "b", 7, stream="s")["status"] == "REJECTED"


# Orders.


def test_order_whose_claim_was_given_away_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    opened = order(gateway, "a")
    gateway.wait(LEASE_SEC + 1)
    claim(gateway, "b", 7)
    executed = gateway.executions()
    close = {"action": "SELL", "position": opened["ticket"]}
    for more in ({}, {"magic": 9}, close):
        refused = order(gateway, "a", **more)
        assert refused["status"] == "REJECTED"
        assert "not sent: its claim was given to stream 'stream-b'" in refused["error"]
    assert gateway.executions() == executed
    gateway.start()
    assert "was given to stream 'stream-b'" in order(gateway, "a")["error"]
    # Once the other has let go it may claim, and send, again.
    claim(gateway, "b", release=True)
    assert claim(gateway, "a", 7)["status"] == "SUCCESS"
    assert order(gateway, "a")["status"] == "FILLED"


def test_entry_in_the_claim_of_another_is_refused_and_a_close_is_not(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    claim(gateway, "b", 8)
    opened = order(gateway, "b", 8)
    for magic in (8, magic_with_token(8, "tabc")):
        refused = order(gateway, "a", magic)
        assert refused["status"] == "REJECTED"
        assert f"magic {magic} in EURUSD is claimed by stream 'stream-b'" in refused["error"]
    assert order(gateway, "a", 9)["status"] == "FILLED"
    assert order(gateway, "a", magic_with_token(7, "tabc"))["status"] == "FILLED"
    close = {"action": "SELL", "position": opened["ticket"]}
    assert order(gateway, "a", 8, **close)["status"] == "FILLED"


def test_entry_in_the_claim_of_a_silent_holder_passes_after_the_lease(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    claim(gateway, "b", 8)
    gateway.wait(LEASE_SEC)
    assert order(gateway, "a", 8)["status"] == "REJECTED"
    gateway.wait(0.001)
    assert order(gateway, "a", 8)["status"] == "FILLED"
    # Nobody claimed a part of it, so the claim is still the holder's.
    assert order(gateway, "b", 8)["status"] == "FILLED"
    assert order(gateway, "a", 8)["status"] == "REJECTED"


def test_order_with_a_claim_that_the_record_does_not_know_is_refused(gateway: Gateway) -> None:
    refused = order(gateway, "a")
    assert refused["error"] == "not sent: this gateway does not know its claim 'a': claim again"
    assert order(gateway)["status"] == "FILLED"


def test_repeated_order_is_answered_whatever_became_of_the_claim(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    sent = {"action": "BUY", "order_id": "x", "symbol": "EURUSD", "volume": 0.1, "magic": 7}
    first = gateway.ask(**sent, claim="a")
    gateway.wait(LEASE_SEC + 1)
    claim(gateway, "b", 7)
    for name in ("a", "c", ""):
        assert gateway.ask(**sent, claim=name) == {**first, "repeated": True}


def test_books_that_never_claim_go_on_as_before(gateway: Gateway) -> None:
    claim(gateway, "a")
    assert order(gateway)["status"] == "FILLED"


# The record.


def test_record_of_an_earlier_release_is_given_the_table(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    RequestStore(path, "boot", lambda: 1).close()
    older = sqlite3.connect(path)
    older.execute("DROP TABLE claims")
    older.close()
    gateway = Gateway(path)
    assert claim(gateway, "a", 7)["status"] == "SUCCESS"
    gateway.start()
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    gateway.store.close()


@posix_only
def test_claim_that_cannot_be_written_is_not_granted(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    assert gateway.path is not None
    gateway.path.rename(gateway.path.with_name("elsewhere"))
    reply = claim(gateway, "a", 7, 8)
    assert (reply["status"], "was moved" in reply["error"]) == ("FAILED", True)
    gateway.path.with_name("elsewhere").rename(gateway.path)
    assert claim(gateway, "b", 8)["status"] == "SUCCESS"


def test_damaged_claim_is_named_and_grants_nothing(gateway: Gateway) -> None:
    claim(gateway, "a", 7)
    rows = [store_module.ClaimRow("a", b"{")]
    gateway.store.keep_claims(HEDGING.login, HEDGING.server, rows)
    reply = claim(gateway, "b", 8)
    assert reply["status"] == "FAILED"
    assert "the record of claim 'a' is damaged" in reply["error"]


def test_record_keeps_a_bounded_number_of_former_claims(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CLAIMS_KEPT", 10)
    for number in range(30):
        claim(gateway, f"run-{number}", 7, journal="j", stream="s")
    assert len(gateway.store.claims(HEDGING.login, HEDGING.server)) == 10


def test_each_account_has_its_claims_in_its_own_file(tmp_path: Path) -> None:
    gateway = Gateway()
    records = AccountRecords(tmp_path, "boot", gateway.clock.now_ns)
    gateway.desk = Desk(gateway.terminal, "boot", gateway.clock.now_ns, store=records)
    assert claim(gateway, "a", 7)["status"] == "SUCCESS"
    assert gateway.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    assert claim(gateway, "b", 7)["status"] == "SUCCESS"
    assert gateway.terminal.login(HEDGING.login, HEDGING.password, HEDGING.server)
    assert claim(gateway, "b", 7)["status"] == "REJECTED"
    records.close()


RUNS = ("a", "b", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(RUNS),
            st.sets(st.integers(1, 3), max_size=2),
            st.sets(st.sampled_from(["EURUSD", "GBPUSD"]), max_size=2),
        ),
        st.sampled_from(["wait", "restart", *(f"release {run}" for run in RUNS)]),
    ),
    max_size=20,
)


@given(STEPS)
@settings(max_examples=60)
def test_granted_claims_never_overlap(
    steps: list[tuple[str, set[int], set[str]] | str],
) -> None:
    gateway = Gateway()
    for step in steps:
        if step == "wait":
            gateway.wait(LEASE_SEC * 0.6)
        elif step == "restart":
            # On the same store: what a desk has in memory alone is gone.
            gateway.desk = Desk(
                gateway.terminal, "again", gateway.clock.now_ns, store=gateway.store
            )
        elif isinstance(step, str):
            claim(gateway, step.removeprefix("release "), release=True)
        else:
            run, magics, symbols = step
            claim(gateway, run, *magics, symbols=sorted(symbols))
        rows = gateway.store.claims(HEDGING.login, HEDGING.server)
        held = [json.loads(row.claim)["scope"] for row in rows if not row.given_to]
        scopes = [
            Scope(one["run"], magics=tuple(one.get("magics", ())), symbols=tuple(one["symbols"]))
            for one in held
        ]
        for one, other in itertools.combinations(scopes, 2):
            assert why_taken(one, [WriterClaim(other)]) == ""
            for symbol, magic in itertools.product(("EURUSD", "GBPUSD"), range(4)):
                assert not (has_order(one, symbol, magic) and has_order(other, symbol, magic))


# The client, over sockets.


def scope(run: str, *magics: int, **more: Any) -> Scope:
    return Scope(run, f"stream-{run}", magics=magics, **more)


@contextmanager
def client(port: int) -> Iterator[ExecutionGateway]:
    with ExecutionGateway("127.0.0.1", port, 20_000, server_key="") as made:
        yield made


def bought(gateway: ExecutionGateway, magic: int) -> dict[str, Any]:
    wanted = {"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.1, "magic": magic}
    return gateway.send_order({"order_id": f"order-{next(ORDER_IDS)}", **wanted})


@pytest.fixture(autouse=True)
def renewing(monkeypatch: pytest.MonkeyPatch) -> Renewals:
    """What other tests of this process left open is none of ours."""
    made = Renewals()
    monkeypatch.setattr(claiming, "RENEWALS", made)
    return made


def renewed(renewing: Renewals) -> int:
    """How many claims are renewed; without one there is no thread."""
    assert bool(renewing._due) == (renewing._thread is not None)
    return len(renewing._due)


def test_client_claims_sends_and_releases(renewing: Renewals) -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as server, ExitStack() as clients:
        first, second = (clients.enter_context(client(server.port)) for _ in range(2))
        first.claim(scope("a", 7), "j")
        assert first.claimed is not None
        assert (first.claimed.run, first.claimed.process) == ("a", os.getpid())
        with pytest.raises(
            ClaimRefused, match=f"Nothing was claimed at .* \\(process {os.getpid()}"
        ):
            second.claim(scope("b", 7))
        assert second.claimed is None
        second.claim(scope("b", 8))
        assert bought(first, 7)["status"] == "FILLED"
        assert "is claimed by stream 'stream-b'" in bought(first, 8)["error"]
        assert renewed(renewing) == 2
        first.claim(scope("a", 7, 9))
        first.release_claim()
        first.release_claim()
        assert first.claimed is None
        second.claim(scope("b"))
        # Without a claim it is a client as any other.
        assert bought(first, 7)["status"] == "FILLED"
    assert renewed(renewing) == 0


def test_client_that_disconnects_gives_its_claim_up() -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as server:
        for run in ("a", "b"):
            with client(server.port) as gateway:
                gateway.claim(scope(run))


def test_syncs_of_a_client_carry_its_claim_until_it_is_released() -> None:
    world = Gateway()

    def carried() -> list[Any]:
        asked = map(json.loads, server.seen)
        return [one.get("claim") for one in asked if one["action"] == "SNAPSHOT"]

    with ZmqServer(world.desk.handle) as server, client(server.port) as gateway:
        gateway.read()
        gateway.claim(scope("a", 7))
        gateway.read()
        gateway.release_claim()
        gateway.read()
        assert carried() == [None, "a", None]


def test_claim_does_not_ask_again_what_a_reading_has_told() -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as server, client(server.port) as gateway:
        gateway.read()
        asked = server.count("GET_POSITIONS")
        gateway.claim(scope("a", 7))
        assert server.count("GET_POSITIONS") == asked


@needs_fork
def test_forked_process_neither_releases_nor_renews_the_claim_of_its_parent(
    tmp_path: Path,
) -> None:
    code = """
from trueup.core.scope import Scope
from trueup.gateway.client.execution_gateway import ExecutionGateway
gateway = ExecutionGateway("127.0.0.1", int(sys.argv[1]), 20_000, server_key="")
gateway.claim(Scope("run-1", "parent.py", magics=(7,)))

def child():
    gateway.disconnect()
    say("disconnected", threading.active_count())

wait(fork(child))
say("waiting")
time.sleep(60)
"""
    world = Gateway()
    with (
        ZmqServer(world.desk.handle) as server,
        client(server.port) as other,
        program(code, server.port, cwd=tmp_path) as parent,
    ):
        assert [parent.line(), parent.line()] == ["disconnected 1", "waiting"]
        with pytest.raises(ClaimRefused, match=r"parent\.py"):
            other.claim(scope("other", 7))


def test_thread_renews_a_claim_of_a_client_that_sends_nothing(
    renewing: Renewals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(claiming, "RENEWALS_IN_A_LEASE", LEASE_MS)
    world, is_lost = Gateway(), threading.Event()

    def handle(raw: bytes) -> bytes:
        if is_lost.is_set():
            return b'{"status":"REJECTED","error":"it was given away"}'
        return world.desk.handle(raw)

    with ZmqServer(handle) as server, client(server.port) as gateway:
        gateway.claim(scope("a", 7))
        server.wait_for(5, "CLAIM")
        is_lost.set()
        until(lambda: "it was given away" in caplog.text)
        server.wait_for(server.count("CLAIM") + 5, "CLAIM")
        # Once, and not with every renewal.
        assert caplog.text.count("[CLAIM] The claim was not renewed") == 1
    assert renewed(renewing) == 0


def test_claim_is_widened_and_released_while_a_renewal_has_no_reply_yet() -> None:
    world, silent = Gateway(), threading.Event()

    def handle(raw: bytes) -> bytes | None:
        reply = world.desk.handle(raw)
        return None if silent.is_set() else reply

    with (
        ZmqServer(handle) as server,
        client(server.port) as gateway,
        client(server.port) as other,
    ):

        def begin_to_renew() -> None:
            silent.set()
            count = server.count("CLAIM")
            gateway._claims.step(0.0)
            server.wait_for(count + 1, "CLAIM")
            silent.clear()

        gateway.claim(scope("a", 7))
        begin_to_renew()
        gateway.claim(scope("a", 7, 9))
        with pytest.raises(ClaimRefused, match="magic 9"):
            other.claim(scope("b", 9))
        begin_to_renew()
        gateway.release_claim()
        other.claim(scope("b", 9))


def test_claim_at_a_gateway_that_serves_none_is_refused_and_nothing_is_sent() -> None:
    world = Gateway()

    def without(raw: bytes) -> bytes:
        return world.desk.handle(raw).replace(b',"CLAIM"', b"")

    with ZmqServer(without) as server, client(server.port) as gateway:
        with pytest.raises(Refused, match="does not serve CLAIM"):
            gateway.claim(scope("a"))
        assert server.count("CLAIM") == 0
        assert bought(gateway, 7)["status"] == "FILLED"


def _claims(gateway: ExecutionGateway) -> bool:
    """Claim, and say whether the answer came in time: a busy machine may be late."""
    with contextlib.suppress(NotSent, OutcomeUnknown):
        gateway.claim(scope("a", 7))
    return gateway.claimed is not None


def test_claim_without_an_answer_is_an_error_and_may_be_made_again() -> None:
    world = Gateway()
    silent = threading.Event()

    def handle(raw: bytes) -> bytes | None:
        reply = world.desk.handle(raw)
        return None if silent.is_set() and b'"CLAIM"' in raw[:20] else reply

    with (
        ZmqServer(handle) as server,
        ExecutionGateway("127.0.0.1", server.port, 300, server_key="") as gateway,
    ):
        silent.set()
        with pytest.raises((NotSent, OutcomeUnknown)):
            gateway.claim(scope("a", 7))
        assert gateway.claimed is None
        silent.clear()
        until(lambda: _claims(gateway))


@pytest.mark.parametrize(
    "reply",
    [b'{"status":"FAILED","error":"busy"}', b'{"status":"ERROR","error":"?"}', b"{}", b"no", b"[]"],
)
def test_answer_that_decides_nothing_is_an_error(reply: bytes) -> None:
    world = Gateway()

    def handle(raw: bytes) -> bytes:
        return reply if b'"CLAIM"' in raw[:20] else world.desk.handle(raw)

    with ZmqServer(handle) as server, client(server.port) as gateway:
        with pytest.raises(RemoteProtocolError):
            gateway.claim(scope("a"))
        assert gateway.claimed is None


def test_scope_that_is_not_valid_is_refused_before_anything_is_sent() -> None:
    gateway = ExecutionGateway("127.0.0.1", 1, 50, server_key="")
    with pytest.raises(ValueError, match="at most 100"):
        gateway.claim(scope("a", *range(101)))


SCRIPT = """
import sys
from trueup.core.scope import Scope
from trueup.gateway.client.execution_gateway import ExecutionGateway

gateway = ExecutionGateway("127.0.0.1", int(sys.argv[1]), 20_000, server_key="")
gateway.claim(Scope(sys.argv[2], "bot.py", magics=(7,)), sys.argv[3])
print("claimed", flush=True)
sys.stdin.read()
"""


def test_killed_client_is_replaced_by_its_next_run_at_once_and_by_others_after_the_lease() -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as server, client(server.port) as other:
        for run in ("run-1", "run-2"):
            bot = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(server.port), run, "journal-1"],
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert bot.stdout is not None
            assert bot.stdin is not None
            assert bot.stdout.readline() == "claimed\n"
            with pytest.raises(ClaimRefused, match=f"'bot.py' .process {bot.pid} on"):
                other.claim(scope("other", 7))
            bot.kill()
            bot.wait()
            bot.stdin.close()
            bot.stdout.close()
        world.clock.advance(LEASE_SEC + 1)
        other.claim(scope("other", 7))


def test_key_must_have_the_right_to_trade_that_account(tmp_path: Path) -> None:
    gateway_keys = new_keys(tmp_path, "gateway")
    keys = {name: new_keys(tmp_path, name) for name in ("trader", "reader", "elsewhere")}
    allowed = tmp_path / "allow"
    allowed.write_text(
        f"trader trade {HEDGING.login} {keys['trader'].public}\n"
        f"reader read * {keys['reader'].public}\n"
        f"elsewhere trade {OTHER.login} {keys['elsewhere'].public}\n",
        encoding="utf-8",
    )
    terms = Terms(key_file=gateway_keys.secret_file, allow_file=allowed)
    service = Service(DeskWorld().terminal, ServiceOptions(terms=terms), SystemClock().now_ns)
    serving = threading.Thread(target=service.run)
    serving.start()
    said: dict[str, str] = {}
    try:
        for name, own in keys.items():
            port = int(service.endpoint.rpartition(":")[2])
            with ExecutionGateway(
                *("127.0.0.1", port, 20_000),
                server_key=str(gateway_keys.public_file),
                key_file=own.secret_file,
            ) as client_of_key:
                try:
                    client_of_key.claim(scope(name, 7))
                    said[name] = "claimed"
                except TrueupError as error:
                    said[name] = str(error)
    finally:
        service.stop()
        serving.join()
        service.close()
    assert said["trader"] == "claimed"
    assert "key reader may only read" in said["reader"]
    assert f"for account {OTHER.login}" in said["elsewhere"]
