"""docs/reference/wire-protocol.md: its examples are executed, its tables are those of the code."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.support.desk_world import DeskWorld
from tests.support.servers import DEADLINE_SEC, until
from trueup.conformance.examination.findings import Grade
from trueup.conformance.run import ALL_CHECKS
from trueup.core import gateway_record as record
from trueup.core import model, scope
from trueup.core.digest import digest
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.protocol import claims, hints, history, requests, snapshot
from trueup.protocol.snapshot_rows import lines_of, read_lists

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "wire-protocol.md").read_text(
    encoding="utf-8"
)
BLOCK = re.compile(r"^```json (?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [(found["kind"], json.loads(found["text"])) for found in BLOCK.finditer(PAGE)]
TABLE = re.compile(
    r"^\| field \| type \| meaning \| without it \|\n\|.*\n((?:\|.*\n)+)", re.MULTILINE
)
PLACEHOLDER = re.compile(r"<[^<>]+>")
# Where each struct has its table: the heading, and which table under it.
TABLES: dict[type[msgspec.Struct], tuple[str, int]] = {
    model.Position: ("### Position", 0),
    model.PendingOrder: ("### Pending order", 0),
    model.Deal: ("### Deal", 0),
    model.PastOrder: ("### Past order", 0),
    model.History: ("### History", 0),
    model.HistoryOrder: ("### History order", 0),
    model.Account: ("### Account", 0),
    model.TerminalState: ("### Terminal", 0),
    model.SymbolSpec: ("### Symbol", 0),
    model.UnknownSymbol: ("### Unknown symbol", 0),
    scope.Scope: ("### Scope", 0),
    scope.Neighbour: ("### Neighbour", 0),
    snapshot.SnapshotRequest: ("## SNAPSHOT", 0),
    snapshot.SnapshotReply: ("## SNAPSHOT", 1),
    snapshot.UnchangedReply: ("### Unchanged", 0),
    snapshot.HelloReply: ("## HELLO and PING", 0),
    requests.TickReply: ("## TICK", 1),
    requests.OrderReply: ("## Orders", 1),
    history.HistoryRequest: ("## HISTORY, page by page", 0),
    history.HistoryReply: ("## HISTORY, page by page", 1),
    claims.ClaimRequest: ("## CLAIM", 0),
    claims.ClaimReply: ("## CLAIM", 1),
    hints.Hint: ("## Hints", 0),
    record.RequestStatus: ("#### Request status", 0),
    record.RecordMark: ("#### Record", 0),
    record.RequestInDoubt: ("#### Request in doubt", 0),
    record.BookAsked: ("#### Book", 0),
    record.SentOrders: ("#### Sent orders", 0),
    record.SentOrder: ("#### Sent order", 0),
}
ORDER_FIELDS = frozenset(
    {"action", "order_id", "symbol", "volume", "price", "sl", "tp", "position", "order"}
    | {"magic", "login", "server", "comment", "type", "stream", "journal", "key", "claim"}
    | {"deviation", "type_filling", "type_time", "expiration", "foreign", "stoplimit"}
    | {"with_result", "position_by", "by", "token"}
)


# The examples.


@pytest.fixture
def world() -> DeskWorld:
    return DeskWorld()


@pytest.fixture
def ask(world: DeskWorld) -> Iterator[Any]:
    """Ask our gateway over a socket, as a REQ client does."""
    service = Service(world.terminal, ServiceOptions(), world.clock.now_ns)
    serving = threading.Thread(target=service.run)
    serving.start()
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.rcvtimeo = client.sndtimeo = round(DEADLINE_SEC * 1000)
        client.connect(service.endpoint)

        def exchange(request: Any) -> Any:
            client.send(json.dumps(request).encode())
            return json.loads(client.recv())

        yield exchange
    service.stop()
    serving.join(DEADLINE_SEC)
    service.close()


def test_every_example_is_answered_as_printed(ask: Any) -> None:
    known: dict[str, Any] = {}
    pairs = [one for one in EXAMPLES if one[0] in ("request", "reply")]
    assert len(pairs) > 40
    for (first, request), (second, printed) in zip(pairs[::2], pairs[1::2], strict=True):
        assert (first, second) == ("request", "reply")
        came = ask(_filled(request, known))
        assert _bound(printed, came, known) == came, json.dumps(request)


def test_a_hint_is_as_printed(ask: Any, world: DeskWorld) -> None:
    (printed,) = [one for kind, one in EXAMPLES if kind == "hint"]
    port = hints.hints_port(ask({"action": "HELLO"})["capabilities"])
    line = ZmqHints(f"tcp://127.0.0.1:{port}")

    def heard() -> list[bytes]:
        # A hint is said again every second of the gateway's clock, until somebody subscribed.
        world.clock.advance(1.0)
        return line.heard()

    came = json.loads(until(heard)[-1])
    line.close()
    assert _bound(printed, came, {}) == came
    assert came["boot"] == ask({"action": "HELLO"})["epoch"]
    assert came["digest"] == digest([])


def _filled(value: Any, known: dict[str, Any]) -> Any:
    """A request with every placeholder replaced by the value it stands for."""
    if isinstance(value, dict):
        return {name: _filled(part, known) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, known) for part in value]
    return known[value] if isinstance(value, str) and PLACEHOLDER.fullmatch(value) else value


def _bound(printed: Any, came: Any, known: dict[str, Any]) -> Any:
    """A printed reply with every placeholder replaced, those that are new by what came."""
    if isinstance(printed, str) and PLACEHOLDER.fullmatch(printed):
        return known.setdefault(printed, came)
    if isinstance(printed, dict) and isinstance(came, dict):
        return {name: _bound(part, came.get(name), known) for name, part in printed.items()}
    if isinstance(printed, list) and isinstance(came, list) and len(printed) == len(came):
        return [_bound(*pair, known) for pair in zip(printed, came, strict=True)]
    return printed


# The digest.


def test_the_digest_can_be_computed_from_the_page() -> None:
    (vectors,) = [one for kind, one in EXAMPLES if kind == "vectors"]
    assert len(vectors) == 5
    for vector in vectors:
        assert as_the_page_says(vector["rows"]) == vector["digest"]


def as_the_page_says(rows: list[str]) -> str:
    """Steps 3 and 4, written from the page and not from the code."""

    def blake(text: str, key: bytes) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16, key=key).digest()

    total = sum(int.from_bytes(blake(row, b"trueup-row"), "big") for row in rows) % 2**128
    return blake(f"{len(rows)} {total:032x}", b"trueup-set").hex()


def test_the_digest_of_the_code_is_that_of_the_page() -> None:
    (vectors,) = [one for kind, one in EXAMPLES if kind == "vectors"]
    small = model.Position(123456, "EURUSD", model.Side.BUY, 0.01, 1.0543, identifier=123456)
    gold = model.Position(
        *(123460, "XAUUSD", model.Side.SELL, 1.5, 2024.15),
        identifier=123457,
        sl=2050.0,
        tp=1990.5,
        magic=7,
    )
    limit = model.PendingOrder(
        *(123500, "EURUSD", model.OrderType.BUY_LIMIT, 0.1, 1.05), sl=1.04, tp=1.08, magic=7
    )
    found = [digest([]), digest([small]), digest([gold]), digest([], [limit])]
    assert [*found, digest([gold, small], [limit])] == [vector["digest"] for vector in vectors]


def test_each_row_of_the_page_has_its_line_and_its_digest() -> None:
    """From JSON as it stands in a message: half of all mistakes are made before the line."""
    (vectors,) = [one for kind, one in EXAMPLES if kind == "rows"]
    assert len(vectors) == 5
    for vector in vectors:
        positions = [vector["position"]] if "position" in vector else []
        orders = [vector["order"]] if "order" in vector else []
        assert [line_of(row) for row in (*positions, *orders)] == [vector["line"]]
        assert as_the_page_says([vector["line"]]) == vector["digest"]
        assert lines_of(positions, orders) == (vector["line"],)
        assert read_lists(positions, orders).digest == vector["digest"]
        assert not read_lists(positions, orders).faults


def line_of(row: dict[str, Any]) -> str:
    """Steps 1 and 2, written from the page and not from the code."""

    def units(name: str) -> int:
        value: float = row.get(name, 0.0)
        return round(value * 100_000_000)

    if "identifier" in row:
        words = ["p", row["identifier"], row["ticket"], row["symbol"], row["type"]]
        amounts = [units(name) for name in ("volume", "price_open", "sl", "tp")]
    else:
        words = ["o", row["ticket"], row["symbol"], row["type"]]
        amounts = [units(n) for n in ("volume", "price_open", "price_stoplimit", "sl", "tp")]
    return " ".join(map(str, [*words, *amounts, row.get("magic", 0)]))


def test_a_row_without_identifier_is_hashed_with_0_however_it_is_read() -> None:
    row = {"ticket": 5, "symbol": "EURUSD", "type": "buy", "volume": 0.1, "price_open": 1.1}
    odd = {**row, "ticket": 6, "volume": 0.0, "identifier": 6}
    line = "p 0 5 EURUSD buy 10000000 110000000 0 0 0"
    assert lines_of([row], []) == (line,)
    assert read_lists([row], []).digest == as_the_page_says([line])
    assert read_lists([{**row, "time": "today"}], []).digest == as_the_page_says([line])
    both = read_lists([row, odd], [])
    assert both.digest == as_the_page_says([line, "p 6 6 EURUSD buy 0 110000000 0 0 0"])


# The tables.


def table(heading: str, number: int) -> dict[str, str]:
    """The fields in a table of the page, and what its last column says of each."""
    (section,) = re.findall(
        rf"^{re.escape(heading)}\n(.*?)(?=^{heading.split()[0]} |^## |\Z)",
        PAGE,
        re.MULTILINE | re.DOTALL,
    )
    tables = re.findall(
        r"^\| field \| type \| meaning \| without it \|\n\|.*\n((?:\|.*\n)+)", section, re.MULTILINE
    )
    fields = {}
    for line in tables[number].splitlines():
        names, *_, without = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`(\w+)`", names):
            fields[name] = without.strip(" |`")
    return fields


@pytest.mark.parametrize("struct", TABLES, ids=lambda struct: struct.__name__)
def test_a_table_has_the_fields_of_the_code(struct: type[msgspec.Struct]) -> None:
    wanted = {field.encode_name: _default(field) for field in msgspec.structs.fields(struct)}
    found = table(*TABLES[struct])
    if struct not in (requests.OrderReply, record.RequestStatus, claims.ClaimReply):
        # Every reply has its status, which has a section of its own.
        wanted.pop("status", None)
    assert found == wanted


def test_the_table_of_orders_has_the_fields_of_the_code() -> None:
    known = msgspec.structs.fields(requests.Request)
    fields = {field.encode_name: _default(field) for field in known}
    assert table("## Orders", 0) == {name: fields[name] for name in ORDER_FIELDS}
    # A field that is new must be said somewhere.
    assert all(f"`{name}`" in PAGE for name in fields)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "[]"
    if field.default in (msgspec.NODEFAULT, msgspec.UNSET):
        return "required" if field.default is msgspec.NODEFAULT else "left out"
    return json.dumps(msgspec.to_builtins(field.default))


def test_every_capability_action_and_check_is_on_the_page() -> None:
    for word in (*snapshot.CAPABILITIES, *requests.ACTIONS, f"{hints.CAPABILITY} PORT"):
        assert f"`{word}`" in PAGE, word
    for grade in Grade:
        (line,) = re.findall(rf"^\| {grade.value} \|.*$", PAGE, re.MULTILINE)
        checks = [one.name for one in ALL_CHECKS if one.grade is grade]
        assert re.findall(r"`([a-z-]+)`", line.split("|")[3].partition(";")[0]) == checks


def test_the_version_of_the_page_is_that_of_the_code() -> None:
    assert f"Version {snapshot.VERSION}." in PAGE
