"""A gateway written from the page alone gets every grade, and each wrong one is caught by name."""

from __future__ import annotations

import ast
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts import support
from tests.conformance.test_conformance import PATIENT_MS, examined, outcome, run, standing, wrong
from tests.support import servers, stranger
from tests.support.stranger import Broker, Fields, Record, Stranger
from trueup.conformance.examination.examination import Options
from trueup.conformance.examination.findings import Grade, Outcome, Report, Standing
from trueup.conformance.text import write_report

TRADING = Options(timeout_ms=PATIENT_MS, settle_ms=60, trade=True)
READING = Options(timeout_ms=PATIENT_MS, settle_ms=60)
MUTE = Options(timeout_ms=3_000, settle_ms=60, trade=True)


def examined_as(
    kind: type[Stranger], folder: Path, options: Options = TRADING, broker: Broker | None = None
) -> Report:
    with kind(broker or Broker(), folder) as gateway:
        return examined(gateway.port, options)


def test_the_stranger_imports_nothing_of_the_product() -> None:
    for module in (stranger, servers, support):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        named = [
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else _names(node))
        ]
        roots = {name.partition(".")[0] for name in named}
        assert roots - set(sys.stdlib_module_names) <= {"zmq", "tests", "scripts"}


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


def test_a_gateway_written_from_the_page_alone_gets_every_grade(tmp_path: Path) -> None:
    broker = Broker()
    report = examined_as(Stranger, tmp_path, broker=broker)
    assert not wrong(report), write_report(report)
    for grade in (Grade.GUIDE, Grade.ATOMIC, Grade.GAPS, Grade.ONCE):
        assert standing(report, grade) is Standing.YES
    assert [one.check for one in report.findings if one.outcome is not Outcome.HOLDS] == []
    assert not broker.positions
    assert not broker.pending
    # One position came and went, and two more, of which one closed the other in part.
    assert len(broker.deals) == 7


def test_what_an_older_gateway_does_not_claim_is_not_asked_of_it(tmp_path: Path) -> None:
    report = examined_as(Older, tmp_path)
    assert not wrong(report), write_report(report)
    assert standing(report, Grade.ONCE) is Standing.YES


# Wrong gateways: each breaks one sentence of the page, and does everything else right.


class PendingAtTheMarket(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["type"] in ("limit", "stop") and not order["position"]:
            order = {**order, "type": "market"}
        return super().carry_out(order_id, order)


class AnyAccount(Stranger):
    def is_elsewhere(self, order: Fields) -> bool:
        return False


class AnyServer(Stranger):
    def is_elsewhere(self, order: Fields) -> bool:
        return super().is_elsewhere({**order, "server": ""})


class WithdrawsInWordsOnly(Stranger):
    def withdraw(self, order_id: str) -> None:
        return


class CoversEverything(Stranger):
    def covers(self, mark: Fields | None) -> bool:
        return True


class CoversNothing(Stranger):
    def covers(self, mark: Fields | None) -> bool:
        return False


class ComparesSizeAlone(Stranger):
    def parameters(self, request: Fields) -> Fields:
        return {name: request.get(name) for name in ("action", "volume")}


class ComparesAbsence(Stranger):
    def parameters(self, request: Fields) -> Fields:
        return {name: request[name] for name in stranger.PARAMETERS if name in request}


class ThroughDoubles(Stranger):
    def read(self, raw: bytes) -> Any:
        return json.loads(raw, parse_int=lambda text: int(float(text)))


class TimesThroughDoubles(Stranger):
    def covers(self, mark: Fields | None) -> bool:
        if mark is not None and "came_ns" in mark:
            mark = {**mark, "came_ns": int(float(mark["came_ns"])) + 1}
        return super().covers(mark)


class ChangesNothing(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["action"] in ("MODIFY", "CANCEL"):
            return {"status": "ERROR", "order_id": order_id, "error": "unknown action"}
        return super().carry_out(order_id, order)


class ForgetsTheSecondPrice(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        reply = super().carry_out(order_id, order)
        if order["type"] == "stop_limit" and reply["status"] == "PLACED":
            self.broker.pending[reply["ticket"]]["price_stoplimit"] = 0.0
        return reply


class ClosesTheSecondAtTheMarket(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        second = self.broker.positions.get(order["position_by"])
        if order["action"] == "CLOSE_BY" and second is not None:
            side = "BUY" if second["type"] == "sell" else "SELL"
            named = {"position": second["ticket"], "volume": second["volume"]}
            return super().carry_out(order_id, {**order, **named, "action": side})
        return super().carry_out(order_id, order)


class ForgetsClosesByEachOther(Stranger):
    def again(self, known: Fields, asked: Fields) -> Fields:
        if asked["action"] == "CLOSE_BY":
            return self.outcome(known["order_id"], "REJECTED", error="they are closed")
        return super().again(known, asked)


class LeavesPricesAlone(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["action"] == "MODIFY_ORDER" and order["order"] in self.broker.pending:
            order = {**order, "price": self.broker.pending[order["order"]]["price_open"]}
        return super().carry_out(order_id, order)


class ModifiesWhatIsNot(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["action"] == "MODIFY_ORDER" and order["order"] not in self.broker.pending:
            return self.outcome(order_id, "DONE", ticket=order["order"])
        return super().carry_out(order_id, order)


class Older(Stranger):
    """One from before there were these orders: it does not say that it serves them."""

    def capabilities(self) -> list[str]:
        known = super().capabilities()
        return [one for one in known if one not in ("MODIFY_ORDER", "STOP_LIMIT", "CLOSE_BY")]

    def carry_out(self, order_id: str, order: Fields) -> Fields:
        assert order["action"] not in ("MODIFY_ORDER", "CLOSE_BY"), "it does not claim that"
        assert order["type"] != "stop_limit", "it does not claim that"
        return super().carry_out(order_id, order)


class SetsOneStop(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["action"] == "MODIFY" and order["position"] in self.broker.positions:
            order = {**order, "tp": self.broker.positions[order["position"]]["tp"]}
        return super().carry_out(order_id, order)


class SilentAtNoise(Stranger):
    def unreadable(self, why: str) -> bytes | None:
        return None


class AllSymbols(Stranger):
    def shown_in(self, symbol: str) -> list[Fields]:
        return self.broker.rows()


class HintsOfNothing(Stranger):
    def hint(self, number: int) -> Fields:
        return {**super().hint(number), "digest": "00"}


class HintsOfAnotherRun(Stranger):
    def hint(self, number: int) -> Fields:
        return {**super().hint(number), "boot": "another"}


class SecondsForMilliseconds(Stranger):
    def server_time_msc(self) -> int:
        return super().server_time_msc() // 1000


class UtcForServerTime(Stranger):
    def server_time_msc(self) -> int:
        return round(time.time() * 1000)


class NoTime(Stranger):
    def server_time_msc(self) -> int:
        return 0


class VersionTwo(Stranger):
    version = 2


class NotRepeated(Stranger):
    def repeated(self) -> Fields:
        return {}


class UnchangedForEver(Stranger):
    """Whatever list a client has, if it was true once."""

    def is_unchanged(self, theirs: str, now: str) -> bool:
        self.known = getattr(self, "known", set()) | {now}
        return theirs in self.known


class NoIdentifier(Stranger):
    def positions(self) -> list[Fields]:
        return [
            {name: value for name, value in row.items() if name != "identifier"}
            for row in super().positions()
        ]


class IdentifierZero(Stranger):
    def positions(self) -> list[Fields]:
        return [{**row, "identifier": 0} for row in super().positions()]


class CutsOff(Stranger):
    def units(self, value: float) -> int:
        return int(value * 100_000_000)


class AnswersAPart(Stranger):
    def check_limits(self, request: Fields) -> None:
        return


class NeverSeenIsUnknown(Stranger):
    def told(self, order_id: str) -> Fields:
        told = super().told(order_id)
        return {**told, "state": "sent, unknown"} if told["state"] == "never seen" else told


class AskingWithdraws(Stranger):
    def request_status(self, request: Fields) -> Fields:
        answer = super().request_status(request)
        if answer["status"] == "SUCCESS" and request["order_id"] not in self.record.entries:
            self.withdraw(request["order_id"])
        return answer


class CountsUtf16(Stranger):
    def request_status(self, request: Fields) -> Fields:
        if len(request["order_id"].encode("utf-16-le")) // 2 > stranger.LONGEST_ID:
            return {"status": "ERROR", "error": "too long"}
        return super().request_status(request)


class ClosesMoreThanThereIs(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["position"] not in self.broker.positions:
            order = {**order, "position": 0}
        return super().carry_out(order_id, order)


class AddsOnTheOwnSide(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        held = self.broker.positions.get(order["position"])
        if held is not None and held["type"] == order["action"].lower():
            order = {**order, "position": 0}
        return super().carry_out(order_id, order)


class ClosesWhatThereIs(Stranger):
    def carry_out(self, order_id: str, order: Fields) -> Fields:
        held = self.broker.positions.get(order["position"])
        if held is not None and order["type"] == "market" and order["action"] == "SELL":
            order = {**order, "volume": min(order["volume"], held["volume"])}
        return super().carry_out(order_id, order)


class NoEndOfOrders(Stranger):
    def snapshot(self, request: Fields) -> Fields:
        return {**super().snapshot(request), "past_orders": []}


class NoClosingDeal(Stranger):
    def snapshot(self, request: Fields) -> Fields:
        reply = super().snapshot(request)
        if "deals" in reply:
            reply["deals"] = [deal for deal in reply["deals"] if deal["entry"] == "in"]
        return reply


class SendsByCall(Stranger):
    def call(self, request: Fields) -> Fields:
        sent = {"status": "SUCCESS", "id": request["id"], "error": [1, "Success"]}
        return sent if request["function"] == "order_send" else super().call(request)


class CallsWithoutFields(Stranger):
    def call(self, request: Fields) -> Fields:
        return {**super().call(request), "fields": []}


class AnotherEpochInHello(Stranger):
    def hello(self, request: Fields) -> Fields:
        return {**super().hello(request), "epoch": f"{time.time_ns()}"}


class GrantsEverything(Stranger):
    def overlap(self, one: Fields, other: Fields) -> bool:
        return False


class ClaimsMagicsAlone(Stranger):
    def overlap(self, one: Fields, other: Fields) -> bool:
        return bool(set(one.get("magics", ())) & set(other.get("magics", ())))


class KeepsWhatWasReleased(Stranger):
    def claim(self, request: Fields) -> Fields:
        return super().claim({**request, "release": False})


class SendsWithoutItsClaim(Stranger):
    def holds(self, claim: str) -> bool:
        return True


class ExecutesForFormerWriters(Stranger):
    def may(self, request: Fields) -> bool:
        return super().may(request) or "order_id" in request


class GrantsClaimsToFormerWriters(Stranger):
    def may(self, request: Fields) -> bool:
        return super().may(request) or request["action"] == "CLAIM"


class AnswersFormerWriters(Stranger):
    def may(self, request: Fields) -> bool:
        return super().may(request) or request["action"] == "SNAPSHOT"


WRONG: dict[type[Stranger], tuple[str, Grade]] = {
    SendsByCall: ("call", Grade.ATOMIC),
    CallsWithoutFields: ("call", Grade.ATOMIC),
    GrantsEverything: ("claims", Grade.ONCE),
    ClaimsMagicsAlone: ("claims", Grade.ONCE),
    KeepsWhatWasReleased: ("claims", Grade.ONCE),
    SendsWithoutItsClaim: ("claims", Grade.ONCE),
    ExecutesForFormerWriters: ("fence", Grade.ONCE),
    GrantsClaimsToFormerWriters: ("fence", Grade.ONCE),
    AnswersFormerWriters: ("fence", Grade.ONCE),
    PendingAtTheMarket: ("pending", Grade.ONCE),
    AnyAccount: ("login", Grade.ONCE),
    AnyServer: ("login", Grade.ONCE),
    WithdrawsInWordsOnly: ("withdrawn", Grade.ONCE),
    CoversEverything: ("covered", Grade.ONCE),
    CoversNothing: ("covered", Grade.ONCE),
    ComparesSizeAlone: ("changed", Grade.ONCE),
    ComparesAbsence: ("repeat", Grade.ONCE),
    ThroughDoubles: ("integers", Grade.ATOMIC),
    TimesThroughDoubles: ("covered", Grade.ONCE),
    ChangesNothing: ("modify", Grade.ONCE),
    SetsOneStop: ("modify", Grade.ONCE),
    ForgetsTheSecondPrice: ("pending", Grade.ONCE),
    ClosesTheSecondAtTheMarket: ("close-by", Grade.ONCE),
    ForgetsClosesByEachOther: ("close-by", Grade.ONCE),
    LeavesPricesAlone: ("pending", Grade.ONCE),
    ModifiesWhatIsNot: ("pending", Grade.ONCE),
    SilentAtNoise: ("noise", Grade.GUIDE),
    AllSymbols: ("forms", Grade.GUIDE),
    HintsOfNothing: ("hints", Grade.GAPS),
    HintsOfAnotherRun: ("hints", Grade.GAPS),
    SecondsForMilliseconds: ("clock", Grade.GAPS),
    UtcForServerTime: ("clock", Grade.GAPS),
    NoTime: ("clock", Grade.GAPS),
    VersionTwo: ("version", Grade.ATOMIC),
    NotRepeated: ("repeat", Grade.ONCE),
    UnchangedForEver: ("changed-list", Grade.ATOMIC),
    NoIdentifier: ("snapshot", Grade.ATOMIC),
    IdentifierZero: ("snapshot", Grade.ATOMIC),
    CutsOff: ("pending", Grade.ONCE),
    AnswersAPart: ("limits", Grade.ATOMIC),
    NeverSeenIsUnknown: ("record", Grade.ONCE),
    AskingWithdraws: ("status", Grade.ONCE),
    CountsUtf16: ("record", Grade.ONCE),
    ClosesMoreThanThereIs: ("refusal", Grade.ONCE),
    AddsOnTheOwnSide: ("refusal", Grade.ONCE),
    ClosesWhatThereIs: ("refusal", Grade.ONCE),
    NoEndOfOrders: ("cancel", Grade.ONCE),
    NoClosingDeal: ("closing-deals", Grade.ATOMIC),
    AnotherEpochInHello: ("hello", Grade.ATOMIC),
}


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_gateway_that_breaks_a_sentence_of_the_page_is_caught_by_name(
    kind: type[Stranger], tmp_path: Path
) -> None:
    check, grade = WRONG[kind]
    broker = Broker()
    report = examined_as(kind, tmp_path, MUTE if kind is SilentAtNoise else TRADING, broker)
    assert check in wrong(report), write_report(report)
    assert standing(report, grade) is Standing.NO
    assert not report.keeps_its_word
    # What it did wrong is closed and cancelled again.
    assert not broker.positions
    if kind is not ChangesNothing:
        assert not broker.pending


def test_what_a_gateway_does_not_cancel_is_named(tmp_path: Path) -> None:
    broker = Broker()
    report = examined_as(ChangesNothing, tmp_path, broker=broker)
    assert broker.pending
    assert report.left_open == tuple(sorted(broker.pending))


# What was not seen is said.


def test_an_empty_account_is_called_so(tmp_path: Path) -> None:
    report = examined_as(IdentifierZero, tmp_path, READING)
    for grade in (Grade.GUIDE, Grade.ATOMIC):
        assert standing(report, grade) is Standing.ON_EMPTY_LIST
    (row,) = [row for row in report.grades if row.grade is Grade.ATOMIC]
    assert "not seen: deals" in row.because
    assert "yes, on an empty list" in write_report(report)
    assert report.keeps_its_word
    assert outcome(report, "rows") is Outcome.UNSEEN


def test_a_digest_fault_shows_the_lines_that_should_be_hashed(tmp_path: Path) -> None:
    class Salted(Stranger):
        def lines(self) -> list[str]:
            return [f"{line} " for line in super().lines()]

    report = examined_as(Salted, tmp_path)
    (finding,) = [one for one in report.findings if one.check == "digest"]
    (line,) = finding.lines
    assert line.startswith("p 9000000001 9000000001 EURUSD buy 1000000 110010000 0 0 900719925474")
    shown = write_report(report)
    assert "line  p 9000000001 9000000001 EURUSD buy" in shown
    assert "that of the lists is" in " ".join(shown.split())


def test_the_record_of_the_stranger_outlives_it(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.keep("a", state="outcome", parameters={}, outcome={})
    again = Record(tmp_path / "record.jsonl")
    assert again.mark() == record.mark()
    assert again.covers(record.mark())


# What only a restart shows.


class SameEpoch(Stranger):
    def new_boot(self) -> str:
        return "the only one"


class RecordInMemory(Stranger):
    def open_record(self, folder: Path) -> Record:
        return Record(folder / f"{time.time_ns()}.jsonl")


class ForgetsWithdrawals(Stranger):
    def open_record(self, folder: Path) -> Record:
        record = super().open_record(folder)
        known = record.entries.items()
        record.entries = {key: one for key, one in known if one["state"] != "withdrawn"}
        return record


def restarted(kind: type[Stranger], folder: Path) -> tuple[Report, Report]:
    """What two runs find, with a restart of the gateway between them."""
    broker = Broker()
    with kind(broker, folder) as gateway:
        first = examined(gateway.port, TRADING)
    with kind(broker, folder) as gateway:
        second = examined(gateway.port, TRADING, first.noted)
    assert not broker.positions
    return first, second


def test_a_durable_record_and_new_epochs_are_seen_after_a_restart(tmp_path: Path) -> None:
    first, second = restarted(Stranger, tmp_path)
    assert not wrong(first)
    assert not wrong(second), write_report(second)
    assert outcome(second, "restart") is outcome(second, "durable") is Outcome.HOLDS
    (before,) = [row for row in first.grades if row.grade is Grade.GAPS]
    assert before.because.endswith("; not seen: a restart (--restarted)")
    (after,) = [row for row in second.grades if row.grade is Grade.GAPS]
    assert "not seen" not in after.because


@pytest.mark.parametrize(
    ("kind", "check", "words"),
    [
        (SameEpoch, "restart", "as before the restart"),
        (RecordInMemory, "durable", "'never seen'"),
        (ForgetsWithdrawals, "durable", "what was withdrawn before the restart"),
    ],
)
def test_what_a_restart_shows_is_caught_by_name(
    kind: type[Stranger], check: str, words: str, tmp_path: Path
) -> None:
    first, second = restarted(kind, tmp_path)
    assert not wrong(first)
    assert wrong(second) == [check]
    (found,) = [one for one in second.findings if one.check == check]
    assert words in found.because


def test_the_command_compares_with_its_latest_run_at_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "home"))
    broker, port = Broker(), servers.free_port()

    def findings(*more: str) -> dict[str, str]:
        with Stranger(broker, tmp_path, port):
            said = run(f"tcp://127.0.0.1:{port}", "--json", *more)
        assert said.exit_code == 0, said.output
        return {one["check"]: one["outcome"] for one in json.loads(said.output)["findings"]}

    assert "restart" not in findings()
    found = findings("--restarted")
    assert found["restart"] == "holds"
    assert found["durable"] == "not seen"


def test_restarted_without_a_run_before_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    said = run("tcp://127.0.0.1:5555", "--restarted")
    assert said.exit_code == 2
    assert "There is nothing to compare with: there is no" in said.output
    (tmp_path / "conformance-127.0.0.1-5555.json").write_text("{", encoding="utf-8")
    said = run("tcp://127.0.0.1:5555", "--restarted")
    assert said.exit_code == 2
    assert "cannot be read" in said.output
