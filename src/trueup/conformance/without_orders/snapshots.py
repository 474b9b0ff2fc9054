"""The checks of `snapshot-atomic` and `gap-detecting`, on a run of snapshots; no order is sent.

A snapshot may have changed while the gateway read the terminal. If its counts show that, the
snapshot is within the protocol: the client refuses the snapshot and asks again. A gateway with too
many such snapshots is not atomic.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from trueup.conformance.examination.examination import FIRST_ID, Examination, Taken
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.examination.probe import Exchange
from trueup.core.account.trust import CLOCK_JITTER_MSC, Unknown, judge
from trueup.core.digest import digest
from trueup.core.model import Entry, Evidence, Snapshot
from trueup.core.quantity import format_lots, from_units, to_units
from trueup.protocol.hints import Hint, hints_port
from trueup.protocol.snapshot import UNNAMED_VERSION, VERSION
from trueup.protocol.snapshot_rows import lines_of
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

MOST_TORN = 1 / 4
# Time to connect, and then for two hints, which our gateway sends within a second each.
HINTS_WAIT_MS = 6_000
LOOKS = 4
LINES_SHOWN = 20
# Quotations of two symbols may be days apart. A clock in other units differs by years.
CLOCK_APART_MSC = 31 * 86_400_000
EXPLAINED = 5
NOBODYS_DIGEST = "0" * 32
NO_SNAPSHOT = "no snapshot could be read"


def version_is_ours(exam: Examination) -> Verdict:
    """HELLO names the version, and no snapshot names a different version."""
    hello = exam.probe.ask({"action": "HELLO"})
    if hello.fields is None or hello.status != "SUCCESS":
        said = hello.error or hello.why or hello.status or "no JSON object"
        return broken(f"HELLO, which tells the version, got {said}", hello)
    for exchange in (hello, *(taken.exchange for taken in exam.taken)):
        said = (exchange.fields or {}).get("version", UNNAMED_VERSION)
        if exchange is hello and "version" not in hello.fields:
            return broken("HELLO does not tell the version", hello)
        if said != VERSION:
            return broken(f"it speaks version {said!r:.20}, and this page is {VERSION}", exchange)
    return holds(f"version {VERSION}", hello)


def snapshot_is_read(exam: Examination) -> Verdict:
    """A snapshot has all its fields, each of the right type."""
    failed = [one for one in exam.taken if one.exchange.status == "FAILED"]
    # FAILED is allowed, and a wrong id has a check of its own.
    for one in exam.taken:
        if one.exchange.raw is None:
            return broken(one.exchange.why, one.exchange)
        if isinstance(one.reading, Unknown) and one not in failed and not _has_wrong_id(one):
            return broken(one.reading.sentence, one.exchange)
        if isinstance(one.reading, Snapshot) and one.reading.faults:
            return broken(str(one.reading.faults[0]), one.exchange)
        trouble = _without_identifier(one.exchange)
        if trouble:
            return broken(trouble, one.exchange)
    if len(failed) == len(exam.taken):
        return unseen(f"the terminal cannot be read now: {failed[0].exchange.error}")
    return holds(f"{len(exam.taken)} snapshots were read")


def _without_identifier(exchange: Exchange) -> str:
    """Name a position without an identifier, or return ''; tickets can change, identifiers not."""
    for row in _list((exchange.fields or {}).get("positions")):
        if isinstance(row, dict) and not row.get("identifier"):
            return f"ticket {row.get('ticket')!r:.20} has no identifier"
    return ""


def snapshot_echoes_id(exam: Examination) -> Verdict:
    """A snapshot carries the id of its request."""
    for one in exam.taken:
        if _has_wrong_id(one):
            answered = (one.exchange.fields or {}).get("id")
            return broken(
                f"asked under {one.wanted_id}, it answered {answered!r:.40}", one.exchange
            )
    return holds(f"{FIRST_ID} and those after it came back") if exam.believable else _none()


def counts_agree(exam: Examination) -> Verdict:
    """The lists have as many rows as the terminal counted before and after the reading."""

    # Different counts mean that the account changed while the gateway read the terminal.
    def torn(snapshot: Snapshot, evidence: Evidence) -> str:
        counts = (len(snapshot.positions), len(evidence.orders))
        if evidence.count_before == counts == evidence.count_after:
            return ""
        return (
            f"the lists have {counts}, the terminal counted {evidence.count_before} before and "
            f"{evidence.count_after} after (positions, pending orders)"
        )

    return _few(exam, torn, "counts and lists agree")


def digest_agrees(exam: Examination) -> Verdict:
    """The digest belongs to the lists of the same snapshot."""
    for one in exam.taken:
        trouble, lines = digest_trouble(one)
        if trouble:
            return broken(trouble, one.exchange, lines)
    if not exam.believable:
        return _none()
    if not exam.has_rows:
        return holds("every digest is that of an empty list")
    return holds("every digest is that of its lists")


def digest_trouble(one: Taken) -> tuple[str, tuple[str, ...]]:
    """Return the fault of a snapshot's digest, and the lines that should be hashed; '' for none."""
    fields, reading = one.exchange.fields or {}, one.reading
    if not isinstance(reading, Snapshot) or reading.evidence is None:
        return "", ()
    if reading.digest == reading.evidence.digest:
        return "", ()
    lines = lines_of(_list(fields.get("positions")), _list(fields.get("orders")))
    count = f"{len(lines)} lines" if len(lines) <= LINES_SHOWN else f"{len(lines)} lines, such as"
    return (
        f"the digest is {reading.evidence.digest:.40}, that of the lists is {reading.digest}, made "
        f"of {count if lines else 'no line'}"
    ), lines[:LINES_SHOWN]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def account_agrees(exam: Examination) -> Verdict:
    """The account's figures do not contradict the list of positions."""

    def contradicted(snapshot: Snapshot, evidence: Evidence) -> str:
        # Counts, digest and faults have checks of their own, so they are set right here.
        counts = (len(snapshot.positions), len(evidence.orders))
        rest = replace(evidence, count_before=counts, count_after=counts, digest=snapshot.digest)
        return unknown_of(replace(snapshot, faults=(), evidence=rest, listed=None))

    return _few(exam, contradicted, "margin and profit are those of the list")


def unchanged_is_true(exam: Examination) -> Verdict:
    """UNCHANGED is true, and a request with another digest gets the lists."""
    session, first = f"{exam.name}-f", exam.take(f"{exam.name}-f", FIRST_ID).reading
    if not isinstance(first, Snapshot) or first.evidence is None:
        return _none()
    # A gateway that answers UNCHANGED to any digest would hide every change from a bot.
    other = exam.take(session, FIRST_ID + 1, known=first, digest=NOBODYS_DIGEST)
    if other.exchange.status == "UNCHANGED":
        return broken(f"asked with a made-up digest, {NOBODYS_DIGEST}, it said UNCHANGED")
    if first.positions or first.evidence.orders:
        empty = exam.take(session, FIRST_ID + 2, known=first, digest=digest([]))
        if empty.exchange.status == "UNCHANGED":
            return broken("asked with the digest of empty lists, it said UNCHANGED, and has rows")
    again = exam.take(session, FIRST_ID + 3, known=first, digest=first.evidence.digest)
    if again.exchange.status != "UNCHANGED":
        return holds("it sends the lists whatever digest it is asked with, which is allowed")
    if isinstance(again.reading, Unknown):
        return broken(again.reading.sentence)
    verdict = unknown_of(again.reading)
    if verdict:
        return broken(verdict)
    return holds(f"UNCHANGED in {len(again.exchange.raw or b'')} bytes")


def unknown_of(reading: Snapshot | None) -> str:
    """Return why a reading is not trusted, or ''; a disconnected terminal does not count here."""
    if reading is None or reading.evidence is None:
        return NO_SNAPSHOT
    terminal = replace(reading.evidence.terminal, connected=True)
    evidence = replace(reading.evidence, terminal=terminal)
    verdict = judge(replace(reading, evidence=evidence), None, None)
    return verdict.sentence if isinstance(verdict, Unknown) else ""


def lists_agree(exam: Examination) -> Verdict:
    """GET_POSITIONS and SNAPSHOT show the same positions."""
    difference = NO_SNAPSHOT
    # Several times: a position may open or close between the two requests.
    for look in range(LOOKS):
        taken = exam.take(f"{exam.name}-b", FIRST_ID + look)
        plain = exam.positions()
        if not isinstance(taken.reading, Snapshot) or not isinstance(plain, Snapshot):
            continue
        both = [{p.ticket: p.volume for p in read.positions} for read in (taken.reading, plain)]
        if both[0] == both[1]:
            return holds("both lists are the same")
        apart = sorted(set(both[0].items()) ^ set(both[1].items()))
        difference = f"ticket {apart[0][0]} differs"
    if difference == NO_SNAPSHOT:
        return _none()
    return broken(f"{LOOKS} times in a row GET_POSITIONS and SNAPSHOT differ: {difference}")


def deals_agree(exam: Examination) -> Verdict:
    """The deals of an open position add up to its volume."""
    if not exam.claims("DEALS"):
        return unseen("DEALS is not claimed")
    if not exam.believable:
        return _none()
    wanted = tuple(position.identifier for position in exam.believable[-1][0].positions[:EXPLAINED])
    if not wanted:
        return unseen("the account has no position to explain")
    trouble = ""
    for look in range(LOOKS):
        reading = exam.take(f"{exam.name}-c", FIRST_ID + look, wanted).reading
        if not isinstance(reading, Snapshot) or reading.evidence is None:
            return _none()
        missing = set(wanted) - reading.evidence.explained
        if missing:
            return unseen(f"position {min(missing)} could not be explained now")
        trouble = _not_added_up(reading, reading.evidence, wanted)
        if not trouble:
            return holds(f"those of {len(wanted)} positions add up")
        # A terminal may show a deal later than the position that the deal opened.
        exam.sleep(exam.options.settle_ms / 1000 / LOOKS)
    return broken(trouble)


def _not_added_up(reading: Snapshot, evidence: Evidence, wanted: tuple[int, ...]) -> str:
    """Name a position whose deals do not add up to its volume, or return ''."""
    for position in reading.positions:
        deals = [deal for deal in evidence.deals if deal.position == position.identifier]
        # A reversing deal closes and opens at once, so its volume does not simply add up.
        if position.identifier not in wanted or any(d.entry is Entry.IN_OUT for d in deals):
            continue
        ins = sum(to_units(deal.volume) for deal in deals if deal.entry is Entry.IN)
        left = from_units(2 * ins - sum(to_units(deal.volume) for deal in deals))
        if to_units(left) != to_units(position.volume):
            return (
                f"the deals of position {position.identifier} come to {format_lots(left)} lots, "
                f"and it has {format_lots(position.volume)}"
            )
    return ""


def sequence_counts(exam: Examination) -> Verdict:
    """Each snapshot of a client has the next sequence number."""
    numbers = [evidence.sequence for _, evidence, _ in exam.believable]
    if len(numbers) < len(exam.taken):
        return _none() if not numbers else unseen("some snapshots of the run could not be read")
    for before, after in pairwise(numbers):
        if after != before + 1:
            return broken(f"number {before} was followed by {after}, and no other client asked")
    return holds(f"{numbers[0]} to {numbers[-1]} without a gap")


def sessions_apart(exam: Examination) -> Verdict:
    """Each client has its own sequence."""
    sequences: dict[str, list[int]] = {}
    for look in range(LOOKS):
        for client in ("d", "e"):
            taken = exam.take(f"{exam.name}-{client}", FIRST_ID + look)
            if isinstance(taken.reading, Snapshot) and taken.reading.evidence is not None:
                sequences.setdefault(client, []).append(taken.reading.evidence.sequence)
    if sum(map(len, sequences.values())) < 2 * LOOKS:
        return _none()
    for client, numbers in sequences.items():
        if any(after != before + 1 for before, after in pairwise(numbers)):
            return broken(f"two clients asked in turns, and client {client} got {numbers}")
    return holds("two clients that ask in turns have their own numbers")


def epoch_holds(exam: Examination) -> Verdict:
    """The epoch stays the same while the gateway runs."""
    epochs = {evidence.epoch for _, evidence, _ in exam.believable}
    if not epochs:
        return _none()
    if len(epochs) > 1:
        return broken(f"the epoch changed between two questions: {sorted(epochs)[:2]}")
    return holds(f"epoch {epochs.pop()!r:.60}") if epochs != {""} else broken("the epoch is empty")


def clock_goes_on(exam: Examination) -> Verdict:
    """The trade server's clock never goes back, and agrees with the quotations."""
    times = [evidence.server_time_msc for _, evidence, _ in exam.believable]
    for before, after in pairwise(times):
        if after < before - CLOCK_JITTER_MSC:
            return broken(f"the server's time went back by {before - after} ms")
    if not times:
        return _none()
    if not exam.claims("TICK"):
        return holds("it never went back")
    return _compared_with_tick(exam)


def _compared_with_tick(exam: Examination) -> Verdict:
    """Compare the server's time with the quotation of a symbol that a snapshot asks for."""
    # The quotation first: the snapshot's time must then be the same or later.
    raw = exam.probe.ask(encode_tick_request(exam.options.symbol)).raw
    tick = None if raw is None else decode_tick(raw, exam.options.symbol)
    evidence = exam.look()
    if not isinstance(tick, Tick) or not tick.time_msc or evidence is None:
        return holds("it never went back; no quotation tells the time to compare")
    said = evidence.server_time_msc
    if not said:
        return broken(f"server_time_msc is 0, and TICK has a quotation of {tick.time_msc}")
    if said < tick.time_msc - CLOCK_JITTER_MSC:
        return broken(
            f"server_time_msc is {said}, older than the quotation of {tick.time_msc} that TICK had "
            f"before (milliseconds of the trade server's clock, for {exam.options.symbol} too)"
        )
    if said > tick.time_msc + CLOCK_APART_MSC:
        return broken(
            f"server_time_msc is {said}, and TICK had a quotation of {tick.time_msc}: they are "
            "not of one clock"
        )
    return holds("it never went back, and is that of the latest quotation")


def hints_come(exam: Examination) -> Verdict:
    """Hints come within the promised time, numbered without a gap."""
    port = hints_port(exam.capabilities)
    if not port:
        return unseen("HINTS are not claimed")
    line = exam.hear(port)
    before = _digest_now(exam)
    heard: list[bytes] = []

    def two_came() -> bool:
        heard.extend(line.heard())
        return len(heard) >= 2

    # Two hints, since a single hint shows neither the interval nor the numbering.
    in_time = exam.wait(two_came, HINTS_WAIT_MS)
    line.close()
    if not in_time:
        return broken(f"{len(heard)} hints came within {HINTS_WAIT_MS} ms on port {port}")
    try:
        first, second = (msgspec.json.decode(raw, type=Hint) for raw in heard[:2])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return broken(f"what came is no hint: {error}")
    if (second.boot, second.hint) != (first.boot, first.hint + 1):
        return broken(f"hint {first.hint} of {first.boot} was followed by {second.hint}")
    trouble = _not_of_this_run(exam, second, before)
    if trouble:
        return broken(trouble)
    return holds(f"hints {first.hint} and {second.hint}, at most {first.within_ms} ms apart")


def _not_of_this_run(exam: Examination, hint: Hint, before: str) -> str:
    """Name a contradiction between a hint and HELLO or the snapshots around it, or return ''."""
    epoch = (exam.probe.ask({"action": "HELLO"}).fields or {}).get("epoch")
    if hint.boot != epoch:
        return f"a hint's boot is {hint.boot!r:.40}, and HELLO's epoch {epoch!r:.40}"
    now = _digest_now(exam)
    if hint.digest and before == now != hint.digest:
        return f"a hint's digest is {hint.digest:.40}, and that of the lists is {now}"
    return ""


def _digest_now(exam: Examination) -> str:
    evidence = exam.look()
    return "" if evidence is None else evidence.digest


def _few(
    exam: Examination, objection: Callable[[Snapshot, Evidence], str], otherwise: str
) -> Verdict:
    """Judge a run of snapshots of which a few may have changed while the gateway read them."""
    if not exam.believable:
        return _none()
    found = [(objection(snapshot, evidence), by) for snapshot, evidence, by in exam.believable]
    objections = [(because, by) for because, by in found if because]
    count = len(exam.believable)
    if len(objections) > count * MOST_TORN:
        because, by = objections[0]
        return broken(f"{len(objections)} of {count}: {because}", by)
    moved = f", {len(objections)} of {count} moved while they were read" if objections else ""
    return holds(f"{otherwise}{moved}")


def _has_wrong_id(one: Taken) -> bool:
    fields = one.exchange.fields or {}
    return one.exchange.status == "SUCCESS" and fields.get("id") != one.wanted_id


def _none() -> Verdict:
    return unseen(NO_SNAPSHOT)
