"""IPv6 wherever an address goes, and a host's name that nobody has."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from typer.testing import CliRunner, Result

from tests.gateway.test_service import LONG_MS, Served, started
from tests.support.servers import until
from trueup.cli import app
from trueup.core.account.trust import Unknown
from trueup.core.model import Snapshot
from trueup.errors import HostUnknown, NotSent
from trueup.gateway.access.admission import is_loopback
from trueup.gateway.client.endpoints import bare, endpoint_of, tcp
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.greeting import greet
from trueup.gateway.client.lookup import Found, Lookup
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.server.service import ServiceOptions
from trueup.observe.log import set_up_logging
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus
from trueup.settings import load_settings

NOBODY = "no-such-host.invalid"
SPELLED = ("::1", "[::1]", "0:0:0:0:0:0:0:1")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def port() -> Iterator[int]:
    with Served(started(), "::1") as served:
        yield served.port


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    for name in ("GTW_HOST", "GTW_PORT", "TRUEUP_HOME"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        try:
            return CliRunner().invoke(app, list(arguments))
        finally:
            set_up_logging(console=False)

    return run


# IPv6.


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("::1", "tcp://[::1]:5555"),
        ("[::1]", "tcp://[::1]:5555"),
        ("127.0.0.1", "tcp://127.0.0.1:5555"),
        ("vps.example.com", "tcp://vps.example.com:5555"),
        ("*", "tcp://*:5555"),
    ],
)
def test_an_ipv6_address_has_brackets_in_an_endpoint_and_nothing_else_has(
    host: str, endpoint: str
) -> None:
    assert tcp(host, 5555) == endpoint
    assert bare(host) == host.strip("[]")
    assert is_loopback(host) is (host.strip("[]") in ("::1", "127.0.0.1"))


@needs_ipv6
@pytest.mark.parametrize("spelled", SPELLED)
def test_a_bot_reads_trades_and_hears_hints_at_an_ipv6_address(port: int, spelled: str) -> None:
    with ExecutionGateway(spelled, port, LONG_MS) as gateway:
        pm = PortfolioManager("EURUSD")
        reconciler = StateReconciler(pm, gateway, 86_400)
        assert reconciler.startup_recovery().status is SyncStatus.SUCCESS
        order = {"order_id": "another's", "symbol": "EURUSD", "action": "BUY", "volume": 0.1}
        filled = gateway.send_order({**order, "price": 1.1})
        # The interval is a day: only a hint makes it look.
        until(reconciler.sync_continuous)
        assert list(pm.book.holdings) == [filled["ticket"]]


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_gateway_listens_at_an_ipv6_address_with_or_without_brackets(host: str) -> None:
    assert ServiceOptions(host=host, port=5555).hints_endpoint == "tcp://[::1]:5556"
    with (
        Served(started(), host) as served,
        ExecutionGateway("::1", served.port, LONG_MS) as gateway,
    ):
        assert isinstance(gateway.read(), Snapshot)
        assert greet(host, served.port, LONG_MS).is_zeromq


@needs_ipv6
def test_the_setting_takes_it_with_and_without_brackets(
    port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTW_PORT", str(port))
    for spelled in ("::1", "[::1]"):
        monkeypatch.setenv("GTW_HOST", spelled)
        assert load_settings().gtw_host == "::1"
        with ExecutionGateway(timeout_ms=LONG_MS) as gateway:
            assert gateway.get_positions()["status"] == "SUCCESS"


@needs_ipv6
def test_the_commands_take_it_in_brackets(port: int, command: Callable[..., Result]) -> None:
    url = f"tcp://[::1]:{port}"
    found = json.loads(command("doctor", "--json", "--gateway", url).stdout)["rows"]
    marks = {row["check"]: row["mark"] for row in found}
    assert {marks[check] for check in ("resolvable", "port open", "answers", "reading")} == {"ok"}
    assert next(r for r in found if r["check"] == "key accepted")["mark"] == "ok"
    told = command("conformance", url)
    assert told.exit_code == 0, told.output
    assert url in told.stdout
    assert endpoint_of(url, "--gateway") == ("::1", port)
    assert endpoint_of(url, "--gateway").url == url
    bad = command("doctor", "--gateway", f"tcp://::1:{port}")
    assert "such as tcp://127.0.0.1:5555 or tcp://[::1]:5555" in bad.output


# Names.


def test_an_address_is_found_at_once_and_by_nobody_s_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", None)
    assert Lookup("127.0.0.1").wait(0) == Found()
    assert Lookup("[::1]").wait(0) == Found(is_ipv6=True)
    assert Lookup("::1").wait(0) == Found(is_ipv6=True)


def entry(family: int) -> tuple[Any, ...]:
    return (family, socket.SOCK_STREAM, 6, "", ("", 0))


@pytest.mark.parametrize(
    ("families", "is_ipv6"),
    [
        ([socket.AF_INET], False),
        ([socket.AF_INET6, socket.AF_INET], False),
        ([socket.AF_INET6], True),
    ],
)
def test_ipv6_is_taken_where_a_name_has_nothing_else(
    families: list[int], is_ipv6: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [entry(family) for family in families]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answer)
    link = ZmqLink("tcp://vps.example:1")
    with pytest.raises(NotSent):
        link.send(b"", 200)
    assert link.is_ipv6 is is_ipv6
    assert link._socket is None or link._socket.getsockopt(zmq.IPV6) == is_ipv6
    link.close()


def unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)


SAID = f"tcp://{NOBODY}:5555: there is no host {NOBODY} (Name or service not known)"


def test_a_name_that_nobody_has_is_named_as_such_and_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown_host(monkeypatch)
    link = ZmqLink(f"tcp://{NOBODY}:5555")
    with pytest.raises(HostUnknown) as caught:
        link.send(b"", 600_000)  # nobody waits for that
    assert str(caught.value) == SAID
    with ExecutionGateway(NOBODY, 5555, 600_000) as gateway:
        reading = gateway.read()
        assert isinstance(reading, Unknown)
        assert reading.sentence == f"Gateway offline - {SAID}"
        assert gateway.get_positions()["error"] == SAID
        order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.1}
        outcome = gateway.send_order(order)
        assert (outcome["status"], outcome["error"]) == ("REJECTED", f"Not sent: {SAID}")


def test_a_sync_that_never_waits_names_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_host(monkeypatch)
    with ExecutionGateway(NOBODY, 5555, 100) as gateway:
        reconciler = StateReconciler(PortfolioManager("EURUSD"), gateway, 5)
        result = until(reconciler.sync_continuous)
    assert result.status is SyncStatus.DEGRADED
    assert result.errors == [f"Gateway offline - {SAID}"]


def test_a_name_service_that_is_silent_makes_no_sync_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = threading.Event(), threading.Event()

    def wait(*_: object, **__: object) -> list[Any]:
        asked.set()
        answers.wait(60)
        return [entry(socket.AF_INET)]

    monkeypatch.setattr("socket.getaddrinfo", wait)
    with ExecutionGateway("slow.example", 5555, 200) as gateway:
        reconciler = StateReconciler(PortfolioManager("EURUSD"), gateway, 5)
        result = until(reconciler.sync_continuous)
        assert asked.is_set()
        assert not answers.is_set()
        assert "slow.example" in result.errors[0]
        answers.set()


def test_a_name_that_is_there_again_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_host(monkeypatch)
    link = ZmqLink("tcp://localhost:1")
    with pytest.raises(HostUnknown):
        link.send(b"", 1_000)
    monkeypatch.undo()
    with pytest.raises(NotSent) as caught:
        link.send(b"", 200)
    assert not isinstance(caught.value, HostUnknown)
    link.close()


def test_the_doctor_names_it(command: Callable[..., Result]) -> None:
    found = json.loads(command("doctor", "--json", "--gateway", f"tcp://{NOBODY}:5555").stdout)
    row = next(row for row in found["rows"] if row["check"] == "resolvable")
    assert (row["mark"], NOBODY in row["found"]) == ("FAIL", True)
