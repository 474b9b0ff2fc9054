"""`trueup conformance` over real sockets: what a good gateway gets, and bad ones caught by name."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.support.desk_world import NETTING, DeskLink, DeskWorld
from tests.support.manners import (
    CurveGateway,
    GuideGateway,
    changed,
    forgetful,
    json_object,
    opened,
)
from tests.support.servers import TcpServer, ZmqServer, free_port
from trueup.cli import app
from trueup.conformance.examination.examination import Examination, Options
from trueup.conformance.examination.findings import Grade, Noted, Outcome, Report, Standing
from trueup.conformance.run import ALL_CHECKS, examine
from trueup.conformance.text import write_report
from trueup.core.digest import digest
from trueup.errors import TrueupError
from trueup.gateway.access.admission import Terms
from trueup.gateway.access.keys import KeyFiles, new_keys
from trueup.gateway.client.greeting import Greeting, greet
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.terminal_faults import AnswerLost

QUICK_MS = 2_000
PATIENT_MS = 20_000
ALONE = Options(timeout_ms=PATIENT_MS, settle_ms=100)
TRADING = Options(timeout_ms=PATIENT_MS, settle_ms=150, trade=True)
REAL = Options(timeout_ms=PATIENT_MS, settle_ms=150, trade=True, real_money=True)
NAMES = itertools.count()


def examined(port: int, options: Options = ALONE, before: Noted | None = None) -> Report:
    """Examine what listens on a loopback port, with what a run before a restart noted."""
    clock = itertools.count(0, 10_000_000)
    pause = threading.Event()

    def wait_a_little(seconds: float) -> None:
        pause.wait(seconds / 100)

    exam = Examination(
        greet("127.0.0.1", port, PATIENT_MS),
        lambda: ZmqLink(f"tcp://127.0.0.1:{port}"),
        {},
        lambda hints_port: ZmqHints(f"tcp://127.0.0.1:{hints_port}"),
        options,
        f"exam-{next(NAMES)}",
        lambda: next(clock),
        wait_a_little,
    )
    try:
        return examine(exam, f"tcp://127.0.0.1:{port}", before)
    finally:
        exam.probe.close()


def of_desk(handle: Callable[[bytes], bytes | None], options: Options = ALONE) -> Report:
    """Examine what a function answers, over a ROUTER socket."""
    with ZmqServer(handle) as server:
        return examined(server.port, options)


def standing(report: Report, grade: Grade) -> Standing:
    (row,) = [row for row in report.grades if row.grade is grade]
    return row.standing


def wrong(report: Report) -> list[str]:
    """The checks that are broken, by name."""
    return [one.check for one in report.findings if one.outcome is Outcome.BROKEN]


def outcome(report: Report, check: str) -> Outcome:
    (finding,) = [one for one in report.findings if one.check == check]
    return finding.outcome


# Good gateways.


def test_our_own_gateway_gets_what_it_claims() -> None:
    report = of_desk(opened().desk.handle)
    assert not wrong(report)
    assert standing(report, Grade.GUIDE) is Standing.YES
    assert standing(report, Grade.ATOMIC) is Standing.YES
    assert standing(report, Grade.GAPS) is Standing.YES
    assert standing(report, Grade.KEYED) is Standing.NOT_CLAIMED
    assert report.keeps_its_word
    assert [f.check for f in report.findings if f.outcome is not Outcome.HOLDS] == ["hints"]


def test_our_own_gateway_gets_all(tmp_path: Path) -> None:
    """Served as `trueup gateway` serves it off one machine: encrypted, watched, remembering."""
    own, gateway = new_keys(tmp_path, "examiner"), new_keys(tmp_path, "gateway")
    allowed = tmp_path / "allow"
    allowed.write_text(f"examiner trade * {own.public}\n", encoding="utf-8")
    terms = Terms(key_file=gateway.secret_file, allow_file=allowed)
    world = DeskWorld()
    service = Service(world.terminal, ServiceOptions(terms=terms), SystemClock().now_ns)
    serving = threading.Thread(target=service.run)
    serving.start()
    try:
        said = run(
            service.endpoint,
            *("--server-key", str(gateway.public_file), "--key-file", str(own.secret_file)),
            *("--trade", "--json"),
        )
    finally:
        service.stop()
        serving.join()
        service.close()
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    assert {row["grade"]: row["standing"] for row in found["grades"]} == dict.fromkeys(
        (grade.value for grade in Grade), "yes"
    )
    assert {one["outcome"] for one in found["findings"]} == {"holds"}
    assert not world.rows()


def test_an_examination_without_trade_sends_no_order() -> None:
    with ZmqServer(opened().desk.handle) as server:
        examined(server.port)
        asked = [json_object(message).get("action") for message in server.seen]
        actions = {action for action in asked if isinstance(action, str)}
    reading = {"GET_POSITIONS", "HELLO", "PING", "SNAPSHOT", "HISTORY", "TICK", "REQUEST_STATUS"}
    reading |= {"CALL"}
    assert actions == {*reading, "CONFORMANCE_PROBE"}


def test_a_gateway_of_the_guide_is_guide_compatible_and_claims_nothing_more() -> None:
    with GuideGateway() as gateway:
        gateway.answer(b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.1}')
        report = examined(gateway.port)
    assert not wrong(report)
    assert [row.standing for row in report.grades] == [Standing.YES, *[Standing.NOT_CLAIMED] * 4]
    assert report.keeps_its_word


@pytest.mark.parametrize("netting", [False, True], ids=["hedging", "netting"])
def test_our_own_gateway_executes_once(netting: bool) -> None:
    world = DeskWorld(NETTING) if netting else DeskWorld()
    report = of_desk(world.desk.handle, TRADING)
    assert not wrong(report)
    assert standing(report, Grade.ONCE) is Standing.YES
    assert report.left_open == ()
    deals = [deal for deal in world.ledger.deals.values() if deal.order]
    # On a hedging account two more positions, of which one closes the other in part.
    assert len(deals) == (2 if netting else 7)
    assert not world.rows()


def test_at_most_once_is_not_tested_without_trade() -> None:
    report = of_desk(DeskWorld().desk.handle)
    assert standing(report, Grade.ONCE) is Standing.NOT_TESTED
    assert report.keeps_its_word


# Orders and whose money it is.


def test_real_money_is_refused_before_anything_is_sent() -> None:
    with GuideGateway() as gateway:
        with pytest.raises(TrueupError, match="may be real money"):
            examined(gateway.port, TRADING)
        assert not gateway.orders


def test_a_symbol_with_a_position_is_left_alone() -> None:
    world = opened()
    before = world.rows()
    report = of_desk(world.desk.handle, TRADING)
    assert outcome(report, "outcome") is Outcome.UNSEEN
    assert standing(report, Grade.ONCE) is Standing.NOT_TESTED
    assert world.rows() == before


def test_a_refused_order_tells_nothing_and_is_no_fault() -> None:
    world = DeskWorld()
    report = of_desk(world.desk.handle, Options(PATIENT_MS, trade=True, settle_ms=50, volume=1e6))
    assert not wrong(report)
    assert standing(report, Grade.ONCE) is Standing.NOT_TESTED


def test_a_gateway_that_executes_twice_is_caught_and_cleaned_up_after() -> None:
    world = DeskWorld()
    report = of_desk(forgetful(world.desk), TRADING)
    assert standing(report, Grade.ONCE) is Standing.NO
    assert "repeat" in wrong(report)
    # What is known needs no more orders.
    assert outcome(report, "changed") is outcome(report, "close-once") is Outcome.UNSEEN
    deals = [deal for deal in world.ledger.deals.values() if deal.order]
    assert len(deals) == 4
    assert not world.rows()
    assert report.left_open == ()


def test_executing_twice_is_told_where_nothing_else_was_claimed() -> None:
    with GuideGateway() as gateway:
        report = examined(gateway.port, REAL)
        (row,) = [row for row in report.grades if row.grade is Grade.ONCE]
        assert row.standing is Standing.NOT_CLAIMED
        assert "executed twice" in row.because
        assert report.keeps_its_word
        assert not gateway.positions


def test_what_cannot_be_closed_again_is_named() -> None:
    with GuideGateway() as gateway:

        def never_sells(message: bytes) -> bytes:
            if b'"SELL"' in message:
                name = json_object(message)["order_id"]
                return json.dumps({"order_id": name, "status": "REJECTED"}).encode()
            return gateway.as_the_guide_says(message)

        gateway.answer = never_sells
        report = examined(gateway.port, REAL)
        assert report.left_open == tuple(sorted(p["ticket"] for p in gateway.positions))
        assert report.left_open


def test_a_record_that_tells_something_else_is_caught() -> None:
    world = DeskWorld()

    def misremembers(message: bytes) -> bytes:
        reply = json.loads(world.desk.handle(message))
        if "ticket" in reply.get("request", {}):
            reply["request"]["ticket"] += 1
        return json.dumps(reply).encode()

    report = of_desk(misremembers, TRADING)
    assert wrong(report) == ["status"]
    assert standing(report, Grade.ONCE) is Standing.NO


def test_a_gateway_that_does_not_close_by_ticket_gets_one_try_for_it() -> None:
    with GuideGateway() as gateway:

        def opens_always(message: bytes) -> bytes:
            request = json_object(message)
            if request.pop("position", None) is None:
                return gateway.as_the_guide_says(message)
            return gateway.as_the_guide_says(json.dumps(request).encode())

        gateway.answer = opens_always
        report = examined(gateway.port, REAL)
        sold = [order for order in gateway.orders if order["action"] == "SELL"]
        assert len(sold) == 1
        assert report.left_open == tuple(sorted(p["ticket"] for p in gateway.positions))


def test_changed_orders_under_a_used_id_are_caught() -> None:
    world = DeskWorld()

    def looks_at_volume_too(message: bytes) -> bytes:
        request = json_object(message)
        name = request.get("order_id")
        if name is None or request["action"] == "REQUEST_STATUS":
            return world.desk.handle(message)
        request["order_id"] = f"{name}-{request.get('volume')}"
        reply = json.loads(world.desk.handle(json.dumps(request).encode()))
        return json.dumps(reply | {"order_id": name}).encode()

    report = of_desk(looks_at_volume_too, TRADING)
    assert "changed" in wrong(report)
    assert "repeat" not in wrong(report)
    assert standing(report, Grade.ONCE) is Standing.NO
    assert not world.rows()


def test_an_order_of_unknown_outcome_is_no_fault_and_is_cleaned_up_after() -> None:
    world = DeskWorld()
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    report = of_desk(world.desk.handle, TRADING)
    assert not wrong(report)
    assert standing(report, Grade.ONCE) is Standing.NOT_TESTED
    assert not world.rows()


def test_an_outcome_of_another_order_is_caught() -> None:
    world = DeskWorld()

    def mixes_up(message: bytes) -> bytes:
        reply = json.loads(world.desk.handle(message))
        if "order_id" in reply:
            reply["order_id"] = "somebody-elses"
        return json.dumps(reply).encode()

    report = of_desk(mixes_up, TRADING)
    assert "outcome" in wrong(report)
    assert not world.rows()


# Wrong turns on the guide's wire.


def _sorry(message: bytes) -> bytes:
    return b'{"status":"FAILED","error":"sorry"}'


@pytest.mark.parametrize(
    ("manner", "check"),
    [
        (lambda good, message: b"OK", "json"),
        (lambda good, message: b"\xff\xfe{", "json"),
        (lambda good, message: b"[]", "json"),
        (lambda good, message: b'{"positions":[]}', "list-or-failure"),
        (lambda good, message: b'{"status":"SUCCESS"}', "list-or-failure"),
        (lambda good, message: b'{"status":"ok","positions":[],"error":"x"}', "list-or-failure"),
        (
            lambda good, message: b'{"status":"SUCCESS","positions":[]}',
            "failure-is-not-empty",
        ),
        (
            lambda good, message: good(message).replace(b'"volume": 0.1', b'"volume": -0.1'),
            "rows",
        ),
        (lambda good, message: _twice(good(message)), "rows"),
        (lambda good, message: _with(good(message), uuid="another's"), "uuid"),
        (lambda good, message: _with(good(message), capabilities=["TICK"]), "tick"),
    ],
    ids=[
        "text",
        "no utf-8",
        "a list alone",
        "no status",
        "no list",
        "a list with an error",
        "failure as an empty list",
        "a negative volume",
        "a ticket twice",
        "another's uuid",
        "a tick it does not have",
    ],
)
def test_a_wrong_turn_is_caught_by_name(
    manner: Callable[[Callable[[bytes], bytes], bytes], bytes], check: str
) -> None:
    with GuideGateway() as gateway:
        good = gateway.as_the_guide_says
        good(b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.1}')
        gateway.answer = lambda message: manner(good, message)
        report = examined(gateway.port)
    assert wrong(report)[0] == check
    assert standing(report, Grade.GUIDE) is Standing.NO
    assert not report.keeps_its_word


def _with(reply: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(reply) | fields).encode()


def _twice(reply: bytes) -> bytes:
    fields = json.loads(reply)
    fields["positions"] = fields.get("positions", []) * 2
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("mute_from", "check"), [(0, "answers"), (3, "answers-again"), (6, "failure-is-not-empty")]
)
def test_a_gateway_that_hangs_is_caught(mute_from: int, check: str) -> None:
    with GuideGateway() as gateway:
        count = itertools.count()
        gateway.answer = lambda message: (
            gateway.as_the_guide_says(message) if next(count) < mute_from else None
        )
        report = examined(gateway.port, Options(timeout_ms=QUICK_MS))
    assert wrong(report)[0] == check
    assert standing(report, Grade.GUIDE) is Standing.NO


def test_a_gateway_that_cannot_look_is_not_called_broken() -> None:
    with GuideGateway() as gateway:
        gateway.answer = _sorry
        report = examined(gateway.port)
    assert outcome(report, "list-or-failure") is Outcome.UNSEEN
    assert not wrong(report)


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["mute", "web"]
)
def test_a_port_of_something_else_is_caught(greeting: bytes) -> None:
    with TcpServer(greeting) as server:
        exam = Examination(
            greet("127.0.0.1", server.port, QUICK_MS),
            lambda: ZmqLink(f"tcp://127.0.0.1:{server.port}"),
            {},
            lambda hints_port: ZmqHints(f"tcp://127.0.0.1:{hints_port}"),
            Options(timeout_ms=QUICK_MS),
            "exam",
            lambda: 0,
            lambda _: None,
        )
        report = examine(exam, "there")
    assert wrong(report) == ["zeromq"]
    assert not report.keeps_its_word


# Wrong turns in snapshots.


def _drops_a_row(reply: dict[str, Any]) -> None:
    if reply["status"] == "SUCCESS":
        reply["positions"].pop()


def _drops_a_row_and_counts_what_is_left(reply: dict[str, Any]) -> None:
    if reply["status"] != "SUCCESS":
        return
    reply["positions"].pop()
    reply["count_before"] = reply["count_after"] = [len(reply["positions"]), 0]


def _forgets_all_but_the_account(reply: dict[str, Any]) -> None:
    if reply["status"] != "SUCCESS":
        return
    reply["positions"].clear()
    reply["count_before"] = reply["count_after"] = [0, 0]
    reply["digest"] = digest([])


def _every_third(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    count = itertools.count()
    return lambda reply: change(reply) if next(count) % 3 == 0 else None


@pytest.mark.parametrize(
    ("change", "grade", "checks"),
    [
        (lambda reply: reply.update(id=1), Grade.ATOMIC, {"id"}),
        (lambda reply: reply.pop("digest"), Grade.ATOMIC, {"snapshot"}),
        (lambda reply: reply.update(positions=[{}]), Grade.ATOMIC, {"snapshot"}),
        (lambda reply: reply.update(digest="0" * 32), Grade.ATOMIC, {"digest"}),
        (_drops_a_row, Grade.ATOMIC, {"counts", "digest", "account", "same-list"}),
        (_every_third(_drops_a_row), Grade.ATOMIC, {"counts", "digest", "account"}),
        (
            _drops_a_row_and_counts_what_is_left,
            Grade.ATOMIC,
            {"digest", "account", "same-list"},
        ),
        (lambda reply: reply.pop("deals", None), Grade.ATOMIC, {"deals"}),
        (lambda reply: reply.update(deals=reply.get("deals", [])[1:]), Grade.ATOMIC, {"deals"}),
        (_forgets_all_but_the_account, Grade.ATOMIC, {"account", "same-list"}),
        (lambda reply: reply.update(sequence=1), Grade.GAPS, {"sequence", "sessions"}),
        (lambda reply: reply.update(epoch=f"e{reply['sequence']}"), Grade.GAPS, {"epoch"}),
        (lambda reply: reply.update(epoch=""), Grade.GAPS, {"epoch"}),
        (
            lambda reply: reply.update(server_time_msc=9_000_000 - 9_000 * reply["sequence"]),
            Grade.GAPS,
            {"clock"},
        ),
    ],
    ids=[
        "wrong id",
        "no digest",
        "empty rows",
        "wrong digest",
        "torn list",
        "torn list now and then",
        "torn list that counts itself",
        "no deals",
        "a deal too few",
        "empty list that proves itself",
        "one number for all",
        "an epoch for each",
        "no epoch",
        "a clock that goes back",
    ],
)
def test_a_wrong_turn_in_snapshots_is_caught_by_name(
    change: Callable[[dict[str, Any]], object], grade: Grade, checks: set[str]
) -> None:
    report = of_desk(changed(opened().desk, change))
    assert checks <= set(wrong(report)), [f for f in report.findings if f.check in checks]
    assert standing(report, grade) is Standing.NO
    assert standing(report, Grade.GUIDE) is Standing.YES
    assert not report.keeps_its_word


def test_a_gateway_that_says_unchanged_whatever_it_is_asked_is_caught() -> None:
    desk = opened().desk

    def lazy(message: bytes) -> bytes:
        request = json_object(message)
        if request.get("digest"):
            request["digest"] = json.loads(desk.handle(message))["digest"]
            return desk.handle(json.dumps(request).encode())
        return desk.handle(message)

    report = of_desk(lazy)
    assert "unchanged" in wrong(report)
    assert standing(report, Grade.ATOMIC) is Standing.NO


def test_a_gateway_that_promises_hints_and_gives_none_is_caught() -> None:
    desk = opened().desk
    silent = free_port()

    def promises(message: bytes) -> bytes:
        reply = json.loads(desk.handle(message))
        if "capabilities" in reply:
            reply["capabilities"].append(f"HINTS {silent}")
        return json.dumps(reply).encode()

    report = of_desk(promises)
    assert wrong(report) == ["hints"]
    assert standing(report, Grade.GAPS) is Standing.NO


def test_one_counter_for_all_clients_is_caught() -> None:
    served = itertools.count(1)
    report = of_desk(changed(opened().desk, lambda reply: reply.update(sequence=next(served))))
    assert wrong(report) == ["sessions"]


def test_a_torn_reading_that_says_so_is_within_the_protocol_when_it_is_rare() -> None:
    count = itertools.count()

    def torn(reply: dict[str, Any]) -> None:
        if next(count) == 4:
            reply["count_after"] = [9, 0]

    report = of_desk(changed(opened().desk, torn))
    assert not wrong(report)
    (finding,) = [one for one in report.findings if one.check == "counts"]
    assert "1 of 12 moved" in finding.because


# Keys.


@pytest.fixture
def own_keys(tmp_path: Path) -> KeyFiles:
    return new_keys(tmp_path, "examiner")


def with_keys(gateway: CurveGateway, own: KeyFiles, *more: str) -> Result:
    return run(
        f"tcp://127.0.0.1:{gateway.port}",
        *("--server-key", gateway.public.decode(), "--key-file", str(own.secret_file)),
        *("--timeout-ms", "2000", "--json", *more),
    )


def test_a_gateway_that_hears_known_keys_alone_is_authenticated(own_keys: KeyFiles) -> None:
    with CurveGateway(opened().desk.handle, {own_keys.public}) as gateway:
        said = with_keys(gateway, own_keys)
    assert said.exit_code == 0, said.output
    grades = {row["grade"]: row["standing"] for row in json.loads(said.output)["grades"]}
    assert grades["authenticated"] == "yes"
    assert grades["snapshot-atomic"] == "yes"


def test_a_gateway_that_hears_every_key_is_caught(own_keys: KeyFiles) -> None:
    with CurveGateway(opened().desk.handle, None) as gateway:
        said = with_keys(gateway, own_keys)
    assert said.exit_code == 1
    (finding,) = [f for f in json.loads(said.output)["findings"] if f["outcome"] == "BROKEN"]
    assert finding["check"] == "strangers"
    assert "an unknown key" in finding["because"]


def test_a_gateway_that_wants_a_key_is_not_examined_without_one() -> None:
    with CurveGateway(opened().desk.handle, set()) as gateway:
        said = run(f"tcp://127.0.0.1:{gateway.port}")
    assert said.exit_code == 2
    assert "requires a key: give --server-key" in said.output


def test_a_gateway_that_does_not_know_our_key_is_not_examined(own_keys: KeyFiles) -> None:
    with CurveGateway(opened().desk.handle, set()) as gateway:
        said = with_keys(gateway, own_keys)
    assert said.exit_code == 2
    assert "Nothing could be asked" in said.output


# Any gateway at all.

WORDS = st.sampled_from(
    ["SUCCESS", "ok", "FAILED", "UNCHANGED", "FILLED", "UNKNOWN", "EURUSD", "demo", "buy", ""]
)
FIELDS = st.sampled_from(
    [
        *("status", "positions", "capabilities", "error", "uuid", "id", "ticket", "order_id"),
        *("digest", "account", "epoch", "sequence", "bid", "ask", "request", "volume", "symbol"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=12,
)
REPLIES = st.binary(max_size=20) | st.none() | VALUES.map(lambda value: json.dumps(value).encode())


@given(st.lists(REPLIES, min_size=1, max_size=12))
def test_whatever_a_gateway_answers_the_examination_ends_with_a_report(
    replies: list[bytes | None],
) -> None:
    turn, clock = itertools.cycle(replies), itertools.count(0, 10**9)
    exam = Examination(
        Greeting("NULL", "ZMTP 3.1, NULL"),
        lambda: DeskLink(lambda _: next(turn)),
        {},
        lambda _: ZmqHints("inproc://nobody"),
        Options(trade=True, real_money=True, settle_ms=10),
        "exam",
        lambda: next(clock),
        lambda _: None,
    )
    report = examine(exam, "there")
    assert write_report(report, in_full=True)
    assert msgspec.json.encode(report)


# What is shown.


def test_what_is_broken_shows_the_exchange_and_the_rule() -> None:
    report = of_desk(changed(opened().desk, lambda reply: reply.update(id=1)))
    (finding,) = [one for one in report.findings if one.check == "id"]
    assert finding.sent is not None
    assert finding.came is not None
    assert '"id":4711' in finding.sent
    assert '"id": 1' in finding.came
    assert finding.rule == "A SNAPSHOT carries the id of its question."


def test_check_names_are_unique() -> None:
    names = [check.name for check in ALL_CHECKS]
    assert len(names) == len(set(names))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["conformance", *arguments])


def test_the_command_says_what_a_gateway_is_and_exits_with_it() -> None:
    with ZmqServer(opened().desk.handle) as server:
        endpoint = f"tcp://127.0.0.1:{server.port}"
        said = run(endpoint)
        assert said.exit_code == 0, said.output
        assert "guide-compatible  yes" in said.output
        assert max(map(len, said.output.splitlines())) <= 80
        in_json = json.loads(run(endpoint, "--json").output)
    assert in_json["keeps_its_word"] is True
    assert {row["grade"] for row in in_json["grades"]} == {grade.value for grade in Grade}


def test_the_command_exits_with_1_for_a_broken_word() -> None:
    with ZmqServer(changed(opened().desk, _drops_a_row)) as server:
        said = run(f"tcp://127.0.0.1:{server.port}", "--verbose")
    assert said.exit_code == 1
    assert "snapshot-atomic   NO" in said.output
    assert max(map(len, said.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("endpoint", "code", "word"),
    [
        ("127.0.0.1:5555", 64, "ENDPOINT='127.0.0.1:5555' is not valid: give tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", 64, "is not valid"),
        ("tcp://127.0.0.1:{silent}", 2, "There is no gateway to ask"),
        ("tcp://no.such.host.invalid:5555", 2, "There is no gateway to ask"),
    ],
)
def test_nobody_to_ask_is_one_sentence(endpoint: str, code: int, word: str) -> None:
    said = run(endpoint.format(silent=free_port()), "--timeout-ms", "500")
    assert said.exit_code == code
    assert word in said.output
    assert len(said.output.strip().splitlines()) == 1
