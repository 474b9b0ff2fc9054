"""Frames and bytes around a message, over real sockets, in both directions."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from tests.gateway.test_client_sockets import gateway_on, good, listing, tickets
from tests.gateway.test_service import LONG_MS, Served, started
from tests.support import make
from tests.support.servers import ZmqServer, request_kind
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus

Wrap = Callable[[bytes], bytes]
WRAPPED: dict[str, Wrap] = {
    "NUL (MQL5)": lambda raw: raw + b"\0",
    "the rest of an older reply behind a NUL": lambda raw: raw + b'\0"}]}',
    "a byte order mark (C#)": lambda raw: codecs.BOM_UTF8 + raw,
    "UTF-16 (MQL5's own strings)": lambda raw: (raw.decode() + "\0").encode("utf-16-le"),
    "a line end": lambda raw: raw + b"\r\n",
}


@pytest.mark.parametrize(
    ("before", "behind"),
    [((), (b"checksum",)), ((), (b"", b"")), ((b"topic",), ()), ((b"a",), (b"b", b"c"))],
)
def test_more_frames_do_not_shift_the_answers(
    before: tuple[bytes, ...], behind: tuple[bytes, ...]
) -> None:
    with (
        ZmqServer(good, before=before, behind=behind) as server,
        gateway_on(server.port) as gateway,
    ):
        pm = PortfolioManager("EURUSD")
        keeper = StateReconciler(pm, gateway, 5)
        for _ in range(3):
            assert keeper.sync_positions().status is SyncStatus.SUCCESS
            assert gateway.get_positions()["positions"] == [make.row()]
        order = {"order_id": "O", "symbol": "EURUSD", "action": "BUY", "volume": 0.01, "price": 1.1}
        assert gateway.send_order(order)["status"] == "FILLED"
        assert tickets(gateway.read()) == [make.TICKET]


@pytest.mark.parametrize("how", WRAPPED)
def test_a_gateway_that_wraps_its_json_is_read_and_obeys(how: str) -> None:
    wrap = WRAPPED[how]

    def answer(message: bytes) -> bytes:
        said = listing() if request_kind(message) == "GET_POSITIONS" else good(message)
        return wrap(said)

    with ZmqServer(answer) as server, gateway_on(server.port) as gateway:
        pm = PortfolioManager("EURUSD")
        keeper = StateReconciler(pm, gateway, 5)
        assert keeper.startup_recovery().recovered == 1
        assert pm.close(make.TICKET).status.value == "FILLED"


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("frames", [(), (b"checksum",), (b"",)])
def test_our_gateway_reads_what_a_program_of_others_sends(
    how: str, frames: tuple[bytes, ...]
) -> None:
    terminal = started()
    said: dict[str, Any] = {}
    with Served(terminal) as served, zmq.Context() as context, context.socket(zmq.REQ) as program:
        program.setsockopt(zmq.LINGER, 0)
        program.connect(f"tcp://127.0.0.1:{served.port}")
        for number, action in enumerate(("GET_POSITIONS", "BUY", "GET_POSITIONS")):
            order = {"order_id": f"O{number}", "symbol": "EURUSD", "volume": 0.1}
            raw = json.dumps({"action": action, **(order if action == "BUY" else {})}).encode()
            program.send_multipart([WRAPPED[how](raw), *frames])
            assert program.poll(LONG_MS)
            (reply,) = program.recv_multipart()
            said = json.loads(reply)
            assert said["status"] in ("SUCCESS", "FILLED"), said
    assert len(said["positions"]) == 1
    assert len(terminal.ledger.positions) == 1


@pytest.mark.parametrize("codec", ["cp1251", "cp1252"])
def test_our_gateway_names_the_encoding_and_the_place_in_a_request(codec: str) -> None:
    text = {"cp1251": "стоп и цель", "cp1252": "für später"}[codec]
    order = {"action": "BUY", "order_id": "O", "symbol": "EURUSD", "volume": 0.1, "comment": text}
    raw = json.dumps(order, ensure_ascii=False).encode(codec)
    place = next(number for number, byte in enumerate(raw) if byte > 127)
    terminal = started()
    with Served(terminal) as served, zmq.Context() as context, context.socket(zmq.REQ) as program:
        program.setsockopt(zmq.LINGER, 0)
        program.connect(f"tcp://127.0.0.1:{served.port}")
        program.send(raw)
        assert program.poll(LONG_MS)
        said = json.loads(program.recv())
    assert said["status"] == "ERROR"
    assert f"not UTF-8 at byte {place}" in said["error"]
    assert "UTF-8" in said["error"]
    assert len(said["error"]) < 300
    assert not terminal.ledger.positions
