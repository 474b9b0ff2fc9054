"""The other dialect over a real socket: what its clients ask, and that no failure looks empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import HEDGING, NETTING, DeskWorld
from tests.support.servers import DEADLINE_SEC, ZmqServer
from trueup.core.model import Snapshot
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol import guide
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost, AnswersEmpty, Fails

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])


class Speaker:
    """A client of the other dialect on a REQ socket, as the family's own clients are."""

    def __init__(self, account: AccountSetup = HEDGING) -> None:
        self.world = DeskWorld(account)
        self.server = ZmqServer(self.world.desk.handle)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._count = 0

    def __enter__(self) -> Speaker:
        self.server.__enter__()
        self._socket.rcvtimeo = self._socket.sndtimeo = round(DEADLINE_SEC * 1000)
        self._socket.linger = 0
        self._socket.connect(f"tcp://127.0.0.1:{self.server.port}")
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._context.term()
        self.server.stop()

    def raw(self, **fields: Any) -> dict[str, Any]:
        self._socket.send_string(json.dumps(fields))
        reply = json.loads(self._socket.recv_string())
        assert isinstance(reply, dict)
        return reply

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        self._count += 1
        uuid = fields.pop("uuid", f"5f0c-{self._count}")
        reply = self.raw(uuid=uuid, action=action, **fields)
        assert reply["uuid"] == uuid
        return reply

    @property
    def terminal(self) -> Terminal:
        return self.world.terminal


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    with Speaker() as one:
        yield one


def test_a_ping_tells_the_gateways_time(speaker: Speaker) -> None:
    reply = speaker.ask("PING", timestamp="2023-11-14T22:13:19.500Z")
    assert reply["status"] == "ok"
    assert reply["server_time"] == "2023-11-14T22:13:20.000+00:00"
    assert reply["latency_ms"] == 500.0


@pytest.mark.parametrize("timestamp", [None, "", "yesterday", 20260115, {"x": 1}])
def test_a_ping_without_a_time_has_no_latency(speaker: Speaker, timestamp: object) -> None:
    assert speaker.ask("PING", timestamp=timestamp)["latency_ms"] is None


@BOTH
def test_a_position_is_opened_listed_and_closed(account: AccountSetup) -> None:
    with Speaker(account) as speaker:
        opened = speaker.ask(
            "OPEN",
            symbol="EURUSD",
            type="SELL",
            volume=0.03,
            price=0.0,
            sl=1.2,
            tp=1.0,
            comment="by rule 7",
            risk_signature="RISK_PASS:0:now",
            timestamp="2026-01-15T10:00:00Z",
        )
        assert (opened["status"], opened["volume"], opened["price"]) == ("FILLED", 0.03, 1.1)
        (row,) = speaker.ask("GET_POSITIONS")["positions"]
        assert (row["ticket"], row["type"], row["open_price"]) == (opened["ticket"], "SELL", 1.1)
        assert (row["sl"], row["tp"], row["comment"]) == (1.2, 1.0, "by rule 7")
        closed = speaker.ask("CLOSE", ticket=opened["ticket"])
        assert (closed["status"], closed["close_price"], closed["volume"]) == (
            "FILLED",
            1.1001,
            0.03,
        )
        empty = speaker.ask("GET_POSITIONS")
        assert (empty["status"], empty["positions"]) == ("ok", [])
        assert not speaker.world.rows()


def test_a_part_of_a_position_is_closed(speaker: Speaker) -> None:
    ticket = speaker.ask("OPEN", symbol="EURUSD", type="buy", volume=0.03)["ticket"]
    assert speaker.ask("CLOSE", ticket=ticket, symbol="EURUSD", volume=0.01)["volume"] == 0.01
    assert speaker.world.rows()[ticket][3] == pytest.approx(0.02)


def test_our_own_client_reads_a_list_in_this_dialect(speaker: Speaker) -> None:
    speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.03, magic=7)
    theirs = guide.read_positions(speaker.ask("GET_POSITIONS"))
    with ExecutionGateway("127.0.0.1", speaker.server.port, 20_000) as gateway:
        ours = gateway.read()
    assert isinstance(theirs, Snapshot)
    assert isinstance(ours, Snapshot)
    for a, b in zip(theirs.positions, ours.positions, strict=True):
        for field in ("ticket", "identifier", "symbol", "side", "volume", "price_open", "magic"):
            assert getattr(a, field) == getattr(b, field)


def test_the_list_is_of_one_symbol_where_one_is_named(speaker: Speaker) -> None:
    speaker.world.quote(1.3, "GBPUSD")
    for symbol in ("EURUSD", "GBPUSD"):
        speaker.ask("OPEN", symbol=symbol, type="BUY", volume=0.01)
    assert len(speaker.ask("GET_POSITIONS", symbol="")["positions"]) == 2
    assert [
        row["symbol"] for row in speaker.ask("GET_POSITIONS", symbol="GBPUSD")["positions"]
    ] == ["GBPUSD"]


def test_the_account_is_told_with_its_mode(speaker: Speaker) -> None:
    reply = speaker.ask("GET_ACCOUNT")
    figures = speaker.terminal.account_info()
    assert figures is not None
    assert reply["status"] == "ok"
    assert reply["trade_mode"] == "demo"
    assert (reply["login"], reply["balance"], reply["equity"], reply["free_margin"]) == (
        figures.login,
        figures.balance,
        figures.equity,
        figures.margin_free,
    )


def test_sync_all_brings_the_account_and_every_position_whatever_its_magic(
    speaker: Speaker,
) -> None:
    speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01, magic=5)
    speaker.ask("OPEN", symbol="EURUSD", type="SELL", volume=0.02)
    reply = speaker.raw(action="SYNC_ALL", magic_number=5, timestamp="now")
    assert "uuid" not in reply
    assert reply["status"] == "OK"
    assert [(row["type"], row["magic"]) for row in reply["positions"]] == [("BUY", 5), ("SELL", 0)]
    assert all(row["time_open"] for row in reply["positions"])
    assert reply["account"]["margin_used"] > 0


# What could not be done.


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("GET_POSITIONS", "error", "positions_get"),
        ("GET_ACCOUNT", "error", "account_info"),
        ("SYNC_ALL", "ERROR", "positions_get"),
    ],
)
def test_a_terminal_that_cannot_be_read_is_an_error_and_no_list(
    speaker: Speaker, action: str, status: str, kind: str
) -> None:
    speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01)
    speaker.world.terminal.faults.next_call(kind, Fails())
    reply = speaker.ask(action)
    assert (reply["status"], reply["error_code"]) == (status, "CANNOT_READ")
    assert "failed" in reply["error_msg"]
    assert not {"positions", "account", "balance"} & set(reply)
    assert speaker.ask(action)["status"] in ("ok", "OK")


@pytest.mark.parametrize("action", ["GET_POSITIONS", "GET_ACCOUNT", "SYNC_ALL"])
def test_a_terminal_without_its_trade_server_is_an_error(speaker: Speaker, action: str) -> None:
    speaker.world.terminal.view.disconnect()
    reply = speaker.ask(action)
    assert reply["error_code"] == "CANNOT_READ"
    assert "trade server" in reply["error_msg"]


def test_a_list_that_the_count_contradicts_is_an_error(speaker: Speaker) -> None:
    speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01)
    speaker.world.terminal.faults.next_call("positions_get", AnswersEmpty())
    assert speaker.ask("GET_POSITIONS")["error_code"] == "CANNOT_READ"


def test_a_position_that_cannot_be_seen_is_not_closed(speaker: Speaker) -> None:
    ticket = speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01)["ticket"]
    speaker.world.terminal.faults.next_call("positions_get", Fails())
    reply = speaker.ask("CLOSE", ticket=ticket)
    assert (reply["status"], reply["error_code"]) == ("REJECTED", "REFUSED")
    assert "not sent" in reply["error_msg"]
    assert speaker.ask("CLOSE", ticket=ticket + 1)["error_msg"].endswith("is no open position")
    assert "not in GBPUSD" in speaker.ask("CLOSE", ticket=ticket, symbol="GBPUSD")["error_msg"]
    assert list(speaker.world.rows()) == [ticket]


@pytest.mark.parametrize("action", ["OPEN", "CLOSE"])
def test_an_order_whose_answer_was_lost_is_unknown(speaker: Speaker, action: str) -> None:
    ticket = speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01)["ticket"]
    speaker.world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    reply = speaker.ask(action, symbol="EURUSD", type="BUY", volume=0.01, ticket=ticket)
    assert (reply["status"], reply["error_code"]) == ("UNKNOWN", "OUTCOME_UNKNOWN")


def test_an_order_that_comes_again_is_executed_once(speaker: Speaker) -> None:
    order: dict[str, Any] = {"symbol": "EURUSD", "type": "BUY", "volume": 0.02}
    first = speaker.ask("OPEN", uuid="a", **order)
    again = speaker.ask("OPEN", uuid="a", **order, timestamp="later")
    assert again == first | {"repeated": True}
    assert speaker.ask("OPEN", uuid="a", **order | {"volume": 0.03})["status"] == "REJECTED"
    assert speaker.ask("CLOSE", uuid="a", ticket=first["ticket"])["status"] == "REJECTED"
    assert list(speaker.world.rows()) == [first["ticket"]]


def test_a_close_that_comes_again_is_executed_once(speaker: Speaker) -> None:
    tickets = [
        speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.02)["ticket"] for _ in range(2)
    ]
    first = speaker.ask("CLOSE", uuid="c", ticket=tickets[0], volume=0.01)
    assert speaker.ask("CLOSE", uuid="c", ticket=tickets[0], volume=0.01) == first | {
        "repeated": True
    }
    assert speaker.ask("CLOSE", uuid="c", ticket=tickets[1], volume=0.01)["status"] == "REJECTED"
    assert [row[3] for row in speaker.world.rows().values()] == [0.01, 0.02]


def test_a_refusal_carries_the_return_code(speaker: Speaker) -> None:
    speaker.world.terminal.faults.next_send(Answered(10018))
    reply = speaker.ask("OPEN", symbol="EURUSD", type="BUY", volume=0.01)
    assert (reply["status"], reply["retcode"]) == ("REJECTED", 10018)
    assert "the market is closed" in reply["error_msg"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"action": "OPEN", "type": "BUY", "volume": 0.01}, "symbol"),
        ({"action": "OPEN", "symbol": "EURUSD", "volume": 0.01}, "type='market'"),
        ({"action": "OPEN", "symbol": "EURUSD", "type": "BUY"}, "volume=0.0"),
        ({"action": "OPEN", "symbol": "EURUSD", "type": "BUY", "volume": "0.01"}, "volume"),
        ({"action": "OPEN", "symbol": "EURUSD", "type": "BUY", "volume": -1}, "volume=-1"),
        ({"action": "CLOSE"}, "ticket=0"),
        ({"action": "CLOSE", "ticket": -4}, "ticket=-4"),
        ({"action": "CLOSE", "ticket": 4, "volume": -1}, "volume=-1"),
        ({"action": "CLOSE", "ticket": 4, "magic": -1}, "magic"),
    ],
)
def test_an_order_that_lacks_something_is_rejected_in_words(
    speaker: Speaker, fields: dict[str, Any], word: str
) -> None:
    reply = speaker.raw(uuid="a", **fields)
    assert (reply["uuid"], reply["status"], reply["error_code"]) == ("a", "REJECTED", "BAD_REQUEST")
    assert word in reply["error_msg"]
    assert not speaker.world.ledger.order_history


@pytest.mark.parametrize(
    "uuid", [{}, {"uuid": ""}, {"uuid": None}, {"uuid": 7}, {"uuid": "x" * 129}]
)
def test_an_order_without_a_name_of_its_own_is_rejected(
    speaker: Speaker, uuid: dict[str, Any]
) -> None:
    for order in ({"type": "BUY", "symbol": "EURUSD", "volume": 0.01}, {"ticket": 5}):
        action = "OPEN" if "type" in order else "CLOSE"
        reply = speaker.raw(action=action, **order, **uuid)
        assert reply["status"] == "REJECTED"
        assert "uuid" in reply["error_msg"]
    assert not speaker.world.ledger.order_history


def test_an_unknown_action_is_an_error_that_echoes_the_uuid(speaker: Speaker) -> None:
    reply = speaker.ask("DANCE")
    assert (reply["status"], reply["error_code"]) == ("error", "BAD_REQUEST")
    assert "DANCE" in reply["error_msg"]


def test_a_guides_order_with_a_uuid_gets_it_back_with_its_refusal(speaker: Speaker) -> None:
    reply = speaker.raw(action="BUY", order_id="A", uuid="u", volume="x")
    assert (reply["order_id"], reply["status"], reply["uuid"]) == ("A", "REJECTED", "u")


# Any request at all.

ACTIONS = st.sampled_from(["OPEN", "CLOSE", "GET_ACCOUNT", "SYNC_ALL", "PING", "GET_POSITIONS"])
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    st.sampled_from(["EURUSD", "BUY", "SELL", 0.01, 100_001, "2026-01-15T10:00:00Z", [], {}]),
)
FIELDS = st.sampled_from(
    [
        *("uuid", "symbol", "type", "volume", "price", "sl", "tp", "comment", "magic", "ticket"),
        *("magic_number", "timestamp"),
    ]
)


@given(ACTIONS, st.dictionaries(FIELDS, VALUES))
def test_any_request_gets_a_reply_in_which_no_failure_looks_empty(
    action: str, fields: dict[str, Any]
) -> None:
    world = DeskWorld()
    reply = json.loads(world.desk.handle(json.dumps({"action": action} | fields).encode()))
    if reply["status"] in ("ok", "OK", "SUCCESS", "FILLED"):
        assert "error_code" not in reply
    else:
        assert reply.get("error_msg") or reply.get("error")
        assert not reply.get("positions")
        assert not world.rows()
