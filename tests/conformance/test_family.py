"""`trueup conformance` on gateways of the guide's family that have their own ways, over sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.test_conformance import (
    REAL,
    TRADING,
    examined,
    of_desk,
    outcome,
    standing,
    wrong,
)
from tests.support.desk_world import DeskWorld
from tests.support.manners import GuideGateway, changed, json_object, opened
from tests.support.servers import ZmqServer
from trueup.conformance.examination.examination import Options
from trueup.conformance.examination.findings import Finding, Grade, Outcome, Report, Standing

# Silence is waited for; every other answer comes at once, also on a busy machine.
SILENT = Options(timeout_ms=3_000)
PATIENT = Options(timeout_ms=20_000)

Fields = dict[str, Any]


def finding(report: Report, check: str) -> Finding:
    (found,) = [one for one in report.findings if one.check == check]
    return found


def of_manner(manner: Callable[[GuideGateway, Fields], Fields], options: Options = REAL) -> Report:
    """Examine a gateway of the guide's kind whose answers a function gives."""
    with GuideGateway() as gateway:
        gateway.answer = lambda message: (
            json.dumps(manner(gateway, request)).encode()
            if (request := json_object(message))
            else gateway.as_the_guide_says(message)
        )
        return examined(gateway.port, options)


def guide_answer(gateway: GuideGateway, request: Fields) -> Fields:
    fields: Fields = json.loads(gateway.as_the_guide_says(json.dumps(request).encode()))
    return fields


def in_symbol(fields: Fields, symbol: object) -> Fields:
    if "positions" in fields:
        fields["positions"] = [row for row in fields["positions"] if row["symbol"] == symbol]
    return fields


# The forms of the question for positions.


def takes_star_literally(gateway: GuideGateway, request: Fields) -> Fields:
    fields = guide_answer(gateway, request)
    return in_symbol(fields, request["symbol"]) if "symbol" in request else fields


def wants_a_symbol(gateway: GuideGateway, request: Fields) -> Fields:
    if request.get("action") == "GET_POSITIONS" and "symbol" not in request:
        return {"status": "ERROR", "error": "symbol is missing"}
    return takes_star_literally(gateway, request)


def hides_without_a_symbol(gateway: GuideGateway, request: Fields) -> Fields:
    fields = guide_answer(gateway, request)
    return fields if "symbol" in request else in_symbol(fields, None)


@pytest.mark.parametrize(
    ("manner", "how"),
    [
        (takes_star_literally, "asked without a symbol it shows ticket 101"),
        (wants_a_symbol, "asked for the symbol EURUSD it shows ticket 101"),
    ],
)
def test_a_gateway_to_which_the_star_is_a_symbol_is_told(manner: Any, how: str) -> None:
    report = of_manner(manner)
    found = finding(report, "forms")
    assert found.outcome is Outcome.BROKEN
    assert found.because.startswith(how)
    assert "for the symbol * it does not" in found.because
    assert standing(report, Grade.GUIDE) is Standing.NO


def test_a_gateway_that_hides_its_positions_without_a_symbol_is_told() -> None:
    found = finding(of_manner(hides_without_a_symbol), "forms")
    assert found.outcome is Outcome.BROKEN
    assert found.because == "asked for the symbol * it shows 1 positions, asked without a symbol 0"


def test_a_gateway_that_shows_the_same_in_all_forms_passes() -> None:
    assert outcome(of_manner(guide_answer), "forms") is Outcome.HOLDS
    with ZmqServer(opened().desk.handle) as server:
        report = examined(server.port)
    assert outcome(report, "forms") is Outcome.HOLDS


def test_a_gateway_that_needs_the_star_is_no_fault() -> None:
    def needs_it(gateway: GuideGateway, request: Fields) -> Fields:
        if "symbol" not in request:
            return {"status": "ERROR", "error": "symbol is missing"}
        return guide_answer(gateway, request)

    report = of_manner(needs_it)
    assert outcome(report, "forms") is Outcome.HOLDS
    assert "takes no question without a symbol" in finding(report, "forms").because


def test_without_a_position_the_forms_cannot_be_compared_and_that_is_said() -> None:
    found = finding(of_manner(takes_star_literally, PATIENT), "forms")
    assert found.outcome is Outcome.UNSEEN
    assert found.because == "the account has no position by which to compare the forms"


# Where the kind of a request is read.


def reads(name: str) -> Callable[[GuideGateway, Fields], Fields]:
    def manner(gateway: GuideGateway, request: Fields) -> Fields:
        if name not in request:
            return {"status": "ERROR", "error": "unknown request None"}
        return guide_answer(gateway, request | {"action": request[name]})

    return manner


@pytest.mark.parametrize("name", ["type", "command", "cmd", "request"])
def test_a_gateway_that_reads_another_field_than_action_is_told(name: str) -> None:
    report = of_manner(reads(name), PATIENT)
    found = finding(report, "action")
    assert found.outcome is Outcome.BROKEN
    assert found.because == f"it reads `{name}` and not `action`: asked so, it shows a list"
    assert found.sent == json.dumps({name: "GET_POSITIONS", "symbol": "*"}).replace(" ", "")
    assert standing(report, Grade.GUIDE) is Standing.NO


def test_a_gateway_that_is_silent_without_a_type_is_told() -> None:
    def handle(message: bytes) -> bytes | None:
        return b'{"status":"SUCCESS","positions":[]}' if b'"type"' in message else None

    with ZmqServer(handle) as server:
        found = finding(examined(server.port, SILENT), "answers")
    assert found.outcome is Outcome.BROKEN
    assert found.because.endswith("; it reads `type` and not `action`")


def test_a_gateway_that_cannot_look_now_is_not_said_to_read_another_field() -> None:
    report = of_manner(lambda *_: {"status": "FAILED", "error": "terminal is away"}, PATIENT)
    found = finding(report, "action")
    assert found.outcome is Outcome.UNSEEN
    assert found.because == "the gateway showed no list: terminal is away"


def test_a_gateway_that_reads_an_orders_side_in_its_type_is_told() -> None:
    """An order without `type` is a BUY to it: the first opens, and the close opens one more."""

    world = DeskWorld()

    def handle(message: bytes) -> bytes:
        request = json_object(message)
        if request.get("action") in ("BUY", "SELL"):
            request |= {"action": request.get("type", "BUY"), "position": 0}
            return world.desk.handle(json.dumps(request).encode())
        return world.desk.handle(message)

    report = of_desk(handle, TRADING)
    found = finding(report, "close-once")
    assert found.outcome is Outcome.BROKEN
    assert "SELL did the opposite; it may read the side in `type`" in found.because
    assert report.left_open == tuple(sorted(world.rows()))


# A signature that each order needs.


def wants_a_signature(gateway: GuideGateway, request: Fields) -> Fields:
    if request.get("action") in ("BUY", "SELL") and "risk_signature" not in request:
        name = request["order_id"]
        return {"order_id": name, "status": "REJECTED", "error": "Missing risk_signature"}
    return guide_answer(gateway, request)


def wants_a_signature_to_open(gateway: GuideGateway, request: Fields) -> Fields:
    action, uuid = request.get("action"), request.get("uuid")
    if action == "OPEN":
        # Verified before anything else, so also for a symbol that nobody has.
        return {
            "uuid": uuid,
            "status": "REJECTED",
            "error_code": "RISK_SIGNATURE_INVALID",
            "error_msg": "missing (required for all OPEN commands)",
        }
    if action == "GET_POSITIONS":
        return guide_answer(gateway, request) | ({} if uuid is None else {"uuid": uuid})
    return {"status": "error", "error_code": "UNKNOWN_ACTION", "error_msg": f"unknown {action}"}


@pytest.mark.parametrize("manner", [wants_a_signature, wants_a_signature_to_open])
def test_a_gateway_that_verifies_a_signature_is_told(manner: Any) -> None:
    report = of_manner(manner)
    found = finding(report, "signature")
    assert found.outcome is Outcome.BROKEN
    assert found.because.startswith("it wants a risk_signature with each order (")
    assert "it can look here and not trade" in found.because
    assert report.left_open == ()


def test_a_gateway_that_takes_orders_needs_no_signature() -> None:
    assert outcome(of_manner(guide_answer), "signature") is Outcome.HOLDS


def test_an_order_that_is_refused_for_another_reason_says_nothing_of_signatures() -> None:
    def refuses(gateway: GuideGateway, request: Fields) -> Fields:
        if request.get("action") in ("BUY", "OPEN"):
            return {"order_id": request.get("order_id"), "status": "REJECTED", "error": "no money"}
        return guide_answer(gateway, request)

    assert outcome(of_manner(refuses), "signature") is Outcome.UNSEEN


# The version.


def test_the_version_of_our_own_gateway_is_seen() -> None:
    with ZmqServer(opened().desk.handle) as server:
        assert outcome(examined(server.port), "version") is Outcome.HOLDS


def of_version(change: Callable[[bytes, Fields], object]) -> Report:
    desk = opened().desk

    def handle(message: bytes) -> bytes:
        fields = json.loads(desk.handle(message))
        change(message, fields)
        return json.dumps(fields).encode()

    with ZmqServer(handle) as server:
        return examined(server.port)


def test_another_version_in_hello_alone_is_told() -> None:
    report = of_version(lambda _, fields: "capabilities" in fields and fields.update(version=2))
    assert wrong(report) == ["version"]
    assert finding(report, "version").because == "it speaks version 2, and this page is 1"
    assert standing(report, Grade.ATOMIC) is Standing.NO
    assert not report.keeps_its_word


def test_another_version_in_snapshots_is_told_and_no_snapshot_of_it_is_believed() -> None:
    desk = opened().desk
    handle = changed(desk, lambda fields: fields.update(version=2))
    with ZmqServer(handle) as server:
        report = examined(server.port)
    assert {"version", "snapshot"} <= set(wrong(report))
    assert "version 2 of the protocol" in finding(report, "snapshot").because


def test_a_gateway_that_serves_snapshots_and_no_hello_is_told() -> None:
    def forget(message: bytes, fields: Fields) -> None:
        if b'"HELLO"' in message:
            fields.clear()
            fields.update(status="ERROR", error="action='HELLO' is not known")

    report = of_version(forget)
    assert wrong(report) == ["version"]
    because = finding(report, "version").because
    assert because == "HELLO, which tells the version, got action='HELLO' is not known"


# All deals, page by page.


def of_pages(change: Callable[[Fields, Fields], object]) -> Report:
    """Examine our desk, with every page of its history changed on its way out."""
    desk = opened(5).desk

    def handle(message: bytes) -> bytes:
        request, fields = json_object(message), json.loads(desk.handle(message))
        if request.get("action") == "HISTORY":
            change(request, fields)
        return json.dumps(fields).encode()

    with ZmqServer(handle) as server:
        return examined(server.port)


def test_the_pages_of_our_own_history_are_whole() -> None:
    report = of_pages(lambda *_: None)
    assert not wrong(report)
    assert finding(report, "history").because == "5 deals on 1 pages"


def _goes_round(request: Fields, fields: Fields) -> None:
    fields["next"] = "1:1"


def _loses_the_first(request: Fields, fields: Fields) -> None:
    fields["deals"] = fields.get("deals", [])[1:]


def _newest_first(request: Fields, fields: Fields) -> None:
    fields["deals"] = fields.get("deals", [])[::-1]


def _twice(request: Fields, fields: Fields) -> None:
    fields["deals"] = fields.get("deals", []) * 2


def _other_id(request: Fields, fields: Fields) -> None:
    fields["id"] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_goes_round, "came twice"),
        (_loses_the_first, "and no page of HISTORY has it"),
        (_newest_first, "is not newer"),
        (_twice, "is not newer"),
        (_other_id, "the reply answers question 0"),
    ],
)
def test_pages_that_are_not_whole_are_told(change: Any, words: str) -> None:
    report = of_pages(change)
    assert wrong(report) == ["history"]
    assert words in finding(report, "history").because
    assert standing(report, Grade.ATOMIC) is Standing.NO
