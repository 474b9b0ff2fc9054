"""Every rule of `core.account.trust`: reason, sentence, end, and bounds to the unit."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from trueup.core.account.trust import (
    CLOCK_JITTER_MSC,
    RULES,
    Bound,
    Reason,
    Seen,
    Trusted,
    Unknown,
    judge,
    seen_after,
    seen_without,
)
from trueup.core.digest import digest
from trueup.core.model import (
    Account,
    Evidence,
    FieldNote,
    MarginMode,
    PendingOrder,
    Position,
    RowFault,
    Side,
    Snapshot,
    TerminalState,
)
from trueup.core.model import OrderType as Kind

BOUND = Bound(1, "Demo")
SEEN = Seen("e1", 10, 1_000_000, "old")
ORDER = PendingOrder(ticket=50, symbol="EURUSD", type=Kind.BUY_LIMIT, volume=0.1, price_open=1.0)


def account(**figures: Any) -> Account:
    """An account whose figures are those of nothing open."""
    given = {"balance": 100.0, "equity": 100.0} | figures
    return Account(login=1, server="Demo", currency="USD", margin_mode=MarginMode.HEDGING, **given)


def position(ticket: int = 7, profit: float = 0.0, swap: float = 0.0) -> Position:
    """An open position with a result."""
    return Position(
        ticket=ticket,
        identifier=ticket,
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.1,
        price_open=1.1,
        profit=profit,
        swap=swap,
    )


def snapshot(*positions: Position, faults: tuple[str, ...] = (), **evidence: Any) -> Snapshot:
    """A snapshot that nothing speaks against, but for what is given."""
    orders = evidence.get("orders", ())
    counts = (len(positions), len(orders))
    whole: dict[str, Any] = {
        "account": account(),
        "terminal": TerminalState(connected=True),
        "epoch": "e1",
        "sequence": 11,
        "digest": digest(positions, orders),
        "server_time_msc": 1_000_000,
        "count_before": counts,
        "count_after": counts,
    }
    return Snapshot(positions, tuple(map(RowFault, faults)), Evidence(**(whole | evidence)))


def objection(seen_snapshot: Snapshot, seen: Seen | None = SEEN) -> tuple[Reason, str, str]:
    """What is objected to a snapshot."""
    verdict = judge(seen_snapshot, BOUND, seen)
    assert isinstance(verdict, Unknown)
    return verdict.reason, verdict.sentence, verdict.until


def test_a_snapshot_without_a_flaw_is_trusted() -> None:
    whole = snapshot(position())
    for seen in (None, SEEN):
        for bound in (None, BOUND):
            assert judge(whole, bound, seen) == Trusted(whole)


TORN = "a reading in which list, counts and digest agree"
FIGURES = "a list that the account's own figures do not contradict"
OBJECTIONS = {
    "wrong login": (
        snapshot(account=msgspec.structs.replace(account(), login=2)),
        Reason.WRONG_ACCOUNT,
        "The terminal is logged in to 2@Demo, and this book is bound to 1@Demo",
        "a login to 1@Demo, or a person who binds the book to 2@Demo",
    ),
    "wrong server": (
        snapshot(account=msgspec.structs.replace(account(), server="Real")),
        Reason.WRONG_ACCOUNT,
        "The terminal is logged in to 1@Real, and this book is bound to 1@Demo",
        "a login to 1@Demo, or a person who binds the book to 1@Real",
    ),
    "not connected": (
        snapshot(terminal=TerminalState(connected=False)),
        Reason.NOT_CONNECTED,
        "The terminal has no connection to its trade server, so its list may be an old one",
        "the terminal's connection to its trade server",
    ),
    "another epoch": (
        snapshot(epoch="e2", sequence=1),
        Reason.EPOCH_CHANGED,
        "The gateway restarted, or its terminal was away since the last reading, and may not have "
        "all positions yet",
        "a second reading that agrees with this one",
    ),
    "the same number again": (
        snapshot(sequence=10),
        Reason.OLDER,
        "The reading has number 10, and number 10 was here before",
        "a reading that is newer than what we know",
    ),
    "a lower number": (
        snapshot(sequence=3),
        Reason.OLDER,
        "The reading has number 3, and number 10 was here before",
        "a reading that is newer than what we know",
    ),
    "a gap": (
        snapshot(sequence=12),
        Reason.SEQUENCE_GAP,
        "The reading has number 12 after 10, and we asked only 1 times: somebody else asks in "
        "our name",
        "a reading that follows this one without a gap",
    ),
    "the clock went back": (
        snapshot(server_time_msc=1_000_000 - 61_000),
        Reason.CLOCK_JUMP,
        "The trade server's clock went back by 61 s, so it is not known which reading is newer",
        "a reading that goes on from there",
    ),
    "a row that cannot be read": (
        snapshot(position(), faults=("row 3 is no position", "row 4")),
        Reason.TORN,
        "The list cannot be read in full: row 3 is no position",
        TORN,
    ),
    "fewer counted before": (
        snapshot(position(), count_before=(0, 0)),
        Reason.TORN,
        "The list has 1 positions and 0 pending orders; the terminal counted 0 and 0 before it "
        "and 1 and 0 after",
        TORN,
    ),
    "more orders counted after": (
        snapshot(position(), count_after=(1, 2)),
        Reason.TORN,
        "The list has 1 positions and 0 pending orders; the terminal counted 1 and 0 before it "
        "and 1 and 2 after",
        TORN,
    ),
    "another digest": (
        snapshot(position(), digest=digest(())),
        Reason.TORN,
        "The list does not have the digest that came with it",
        TORN,
    ),
    "margin and nothing open": (
        snapshot(account=account(margin=33.5)),
        Reason.ACCOUNT_CONTRADICTS,
        "The list is empty and the account has 33.50 of margin, so something is open",
        FIGURES,
    ),
    "margin in bitcoin and nothing open": (
        snapshot(account=account(margin=0.0003355, currency_digits=8)),
        Reason.ACCOUNT_CONTRADICTS,
        "The list is empty and the account has 0.00033550 of margin, so something is open",
        FIGURES,
    ),
    "a result and nothing open": (
        snapshot(account=account(profit=-12.0)),
        Reason.ACCOUNT_CONTRADICTS,
        "The list is empty and the account has a floating result of -12.00, so something is open",
        FIGURES,
    ),
    "another sum": (
        snapshot(position(7, 2.0, -0.5), position(8, 1.0), account=account(profit=3.5)),
        Reason.ACCOUNT_CONTRADICTS,
        "The positions' results add up to 2.50, and the account says 3.50",
        FIGURES,
    ),
}


@pytest.mark.parametrize("name", OBJECTIONS)
def test_an_objection_says_what_happened_and_what_would_end_it(name: str) -> None:
    flawed, *said = OBJECTIONS[name]
    assert objection(flawed) == tuple(said)


def test_every_rule_objects_to_something() -> None:
    seen = {reason for _, reason, _, _ in OBJECTIONS.values()} | {Reason.RECONNECTED}
    # Those are of the connection, and of which account is meant (`core.account.intended_account`).
    elsewhere = (Reason.OFFLINE, Reason.UNREADABLE, Reason.REAL_MONEY)
    rules = {reason for reason in Reason if reason not in elsewhere}
    assert seen | {Reason.NO_EVIDENCE} == rules
    assert len(RULES) == 10


def test_who_it_is_comes_before_whether_it_can_know_and_that_before_whether_it_is_whole() -> None:
    other = msgspec.structs.replace(account(), login=2)
    off = TerminalState(connected=False)
    assert objection(snapshot(account=other, terminal=off))[0] is Reason.WRONG_ACCOUNT
    assert objection(snapshot(terminal=off, epoch="e2"))[0] is Reason.NOT_CONNECTED
    assert objection(snapshot(epoch="e2", digest="?"))[0] is Reason.EPOCH_CHANGED
    assert objection(snapshot(sequence=1, digest="?"))[0] is Reason.OLDER


def test_a_reading_without_evidence_is_believed_only_by_a_book_that_never_had_any() -> None:
    bare = Snapshot(())
    assert judge(bare, None, None) == Trusted(bare)
    assert judge(bare, BOUND, None) == Unknown(
        Reason.NO_EVIDENCE,
        "The gateway no longer proves its readings, and this book is bound to 1@Demo",
        "a gateway that serves SNAPSHOT",
    )


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_each_question_of_ours_uses_up_a_number_and_no_more(asked: int) -> None:
    seen = msgspec.structs.replace(SEEN, asked=asked)
    furthest = 10 + max(1, asked)
    whole = snapshot(sequence=furthest)
    assert judge(whole, BOUND, seen) == Trusted(whole)
    reason, sentence, _ = objection(snapshot(sequence=furthest + 1), seen)
    assert reason is Reason.SEQUENCE_GAP
    assert f"we asked only {max(1, asked)} times" in sentence


def test_numbers_of_different_epochs_are_not_compared() -> None:
    confirmed = Seen("e2", 900, 1_000_000, "old")
    assert objection(snapshot(), confirmed)[0] is Reason.EPOCH_CHANGED


def test_quotations_may_be_out_of_step_by_the_jitter_and_not_by_more() -> None:
    edge = snapshot(server_time_msc=1_000_000 - CLOCK_JITTER_MSC)
    assert judge(edge, BOUND, SEEN) == Trusted(edge)
    beyond = snapshot(server_time_msc=1_000_000 - CLOCK_JITTER_MSC - 1)
    assert objection(beyond)[0] is Reason.CLOCK_JUMP


def test_a_server_time_of_0_is_no_time_and_is_remembered_as_none() -> None:
    """Nobody is told that a clock went back by 56 years because a symbol was delisted."""
    untold = snapshot(server_time_msc=0)
    assert judge(untold, BOUND, SEEN) == Trusted(untold)
    assert untold.evidence is not None
    after = seen_after(untold.evidence, SEEN, Trusted(untold))
    assert after.server_time_msc == SEEN.server_time_msc
    # What is told next is held against what was told last.
    back = snapshot(sequence=12, server_time_msc=1_000_000 - 61_000)
    assert objection(back, after)[0] is Reason.CLOCK_JUMP
    assert seen_after(untold.evidence, None, Trusted(untold)).server_time_msc == 0


def test_after_a_restart_two_readings_in_a_row_must_agree() -> None:
    unconfirmed = msgspec.structs.replace(SEEN, confirmed=False)
    assert objection(snapshot(), unconfirmed) == (
        Reason.RECONNECTED,
        "The terminal came back a moment ago, and two readings in a row do not agree yet",
        "two readings in a row that agree",
    )
    whole = snapshot()
    agreeing = msgspec.structs.replace(unconfirmed, digest=digest(()))
    assert judge(whole, BOUND, agreeing) == Trusted(whole)


@pytest.mark.parametrize(
    ("figures", "orders", "contradicts"),
    [
        ({"margin": 1.5}, (), False),
        ({"margin": 2.0}, (), True),
        ({"margin": 2.0}, (ORDER,), False),  # some exchanges reserve margin for pending orders
        ({"profit": 1.5}, (), False),
        ({"profit": 2.0}, (), True),
        ({"profit": 2.0}, (ORDER,), True),
        ({"profit": -2.0}, (), True),
        # Commission and gains are blocked until the day ends, with nothing open.
        ({"equity": 98.0}, (), False),
        ({"equity": 50.0}, (ORDER,), False),
        ({"equity": 100.0, "credit": 50.0}, (), False),
    ],
)
def test_an_empty_list_is_held_against_the_accounts_figures_to_the_unit(
    figures: dict[str, float], orders: tuple[PendingOrder, ...], contradicts: bool
) -> None:
    """In a currency without decimals, half a unit more than one is still rounding."""
    found = snapshot(account=account(currency_digits=0, **figures), orders=orders)
    assert isinstance(judge(found, BOUND, SEEN), Unknown) is contradicts


@pytest.mark.parametrize(
    ("count", "off", "contradicts"),
    [(1, 3.0, False), (1, -3.0, False), (1, 3.25, True), (3, 6.0, False), (3, -6.25, True)],
)
def test_the_sum_may_be_off_by_rounding_once_a_position_and_once_for_the_account(
    count: int, off: float, contradicts: bool
) -> None:
    positions = [position(7 + n, 10.0, -1.0) for n in range(count)]
    found = snapshot(*positions, account=account(currency_digits=0, profit=count * 9.0 + off))
    assert isinstance(judge(found, BOUND, SEEN), Unknown) is contradicts


def test_a_cent_is_a_cent() -> None:
    for profit, contradicts in ((10.03, False), (10.031, True), (9.97, False), (9.969, True)):
        found = snapshot(position(7, 10.0), account=account(profit=profit))
        assert isinstance(judge(found, BOUND, SEEN), Unknown) is contradicts


@pytest.mark.parametrize(
    ("reason", "confirmed_before", "confirmed", "is_a_look"),
    [
        (None, True, True, True),
        (None, False, True, True),
        (Reason.TORN, True, True, True),
        (Reason.TORN, False, False, True),
        (Reason.CLOCK_JUMP, True, True, True),
        (Reason.EPOCH_CHANGED, True, False, True),
        (Reason.RECONNECTED, False, False, True),
        (Reason.WRONG_ACCOUNT, True, False, False),
        (Reason.NOT_CONNECTED, True, False, False),
    ],
)
def test_what_is_remembered_of_a_reading(
    reason: Reason | None, confirmed_before: bool, confirmed: bool, is_a_look: bool
) -> None:
    found = snapshot(position(), sequence=12, server_time_msc=5)
    assert found.evidence is not None
    verdict = Trusted(found) if reason is None else Unknown(reason, "")
    before = msgspec.structs.replace(SEEN, confirmed=confirmed_before, asked=4)
    kept = digest(found.positions) if is_a_look else ""
    remembered = Seen("e1", 12, 5, kept, confirmed)
    assert seen_after(found.evidence, before, verdict) == remembered


def test_a_first_reading_that_was_torn_needs_no_second_look_afterwards() -> None:
    found = snapshot()
    assert found.evidence is not None
    assert seen_after(found.evidence, None, Unknown(Reason.TORN, "")).confirmed
    assert not seen_after(found.evidence, None, Unknown(Reason.NOT_CONNECTED, "")).confirmed


def test_a_terminal_that_could_not_be_read_may_be_loading_when_it_answers() -> None:
    assert seen_without(Unknown(Reason.OFFLINE, ""), SEEN) == SEEN
    doubtful = seen_without(Unknown(Reason.UNREADABLE, ""), SEEN)
    assert doubtful == Seen("e1", 10, 1_000_000, "", confirmed=False)


def test_a_clock_that_went_back_says_by_how_much() -> None:
    seen = msgspec.structs.replace(SEEN, server_time_msc=8_200_400)
    sentence = objection(snapshot(), seen)[1]
    assert sentence == (
        "The trade server's clock went back by 7200 s, so it is not known which reading is newer"
    )


BOUNDS = [
    # before, after, what the results add up to, whether that contradicts
    (8.0, 12.0, 10.0, False),
    (12.0, 8.0, 8.0, False),
    (8.0, 12.0, 12.03, False),
    (8.0, 12.0, 7.97, False),
    (8.0, 12.0, 12.031, True),
    (8.0, 12.0, 7.969, True),
    (10.0, 10.0, 11.0, True),
]


@pytest.mark.parametrize(("before", "after", "total", "contradicts"), BOUNDS)
def test_results_are_held_against_the_accounts_before_and_after_them(
    before: float, after: float, total: float, contradicts: bool
) -> None:
    """Prices move while the list is read."""
    found = snapshot(
        position(7, total), account=account(profit=after), profit_bounds=(before, after)
    )
    assert isinstance(judge(found, BOUND, SEEN), Unknown) is contradicts
    if contradicts and before != after:
        assert objection(found)[1].endswith(
            f"add up to {total:.2f}, and the account says between 8.00 and 12.00"
        )


@pytest.mark.parametrize("bounds", [(0.0, 5.0), (math.nan, 12.0), (-math.inf, 5.0)])
def test_bounds_that_the_accounts_own_figure_is_not_within_are_none(
    bounds: tuple[float, float],
) -> None:
    found = snapshot(position(7, 4.0), account=account(profit=12.0), profit_bounds=bounds)
    assert objection(found)[0] is Reason.ACCOUNT_CONTRADICTS


def test_a_gateway_that_tells_one_figure_is_believed_when_two_readings_show_the_same_list() -> None:
    """Its figure may be of a moment later than the list: only what stays the same is believed."""
    found = snapshot(position(7, 10.0), account=account(profit=12.0))
    assert found.evidence is not None
    verdict = judge(found, BOUND, SEEN)
    assert isinstance(verdict, Unknown)
    seen = seen_after(found.evidence, SEEN, verdict)
    again = snapshot(position(7, 10.5), account=account(profit=9.0), sequence=12)
    assert judge(again, BOUND, seen) == Trusted(again)
    # One that tells bounds has tried more than once, and has no such excuse.
    bounded = snapshot(
        position(7, 10.5), account=account(profit=9.0), sequence=12, profit_bounds=(9.0, 9.0)
    )
    assert objection(bounded, seen)[0] is Reason.ACCOUNT_CONTRADICTS
    # An empty list has no sum, and is held to the account's figures all the same.
    empty = snapshot(account=account(profit=9.0))
    assert empty.evidence is not None
    seen = seen_after(empty.evidence, SEEN, judge(empty, BOUND, SEEN))
    assert objection(snapshot(account=account(profit=9.0), sequence=12), seen)


@pytest.mark.parametrize(
    ("before", "after", "contradicts"),
    [
        (0.0, 5.0, False),
        (5.0, 0.0, False),
        (5.0, 3.0, True),
        (-3.0, -5.0, True),
        (-3.0, 5.0, False),
    ],
)
def test_an_empty_list_needs_a_moment_without_a_floating_result(
    before: float, after: float, contradicts: bool
) -> None:
    found = snapshot(account=account(profit=after), profit_bounds=(before, after))
    assert isinstance(judge(found, BOUND, SEEN), Unknown) is contradicts


def test_a_sum_from_the_gateway_is_what_is_compared_where_it_left_the_rows_out() -> None:
    """The rows are those that we have; their results are of then, and the sum is of now."""
    now = snapshot(position(profit=1.0), account=account(profit=5.0, equity=105.0), floating=5.0)
    assert judge(now, BOUND, SEEN) == Trusted(now)
    other = snapshot(position(profit=5.0), account=account(profit=5.0, equity=105.0), floating=1.0)
    assert objection(other)[1] == "The positions' results add up to 1.00, and the account says 5.00"


# Rows that were left out, and results that cannot be read.


def left_out(seen: Snapshot, listed: tuple[int, int], **more: Any) -> Snapshot:
    """The same reading with one row, or one result, that cannot be read."""
    return msgspec.structs.replace(seen, listed=listed, **more)


ROW = RowFault("row 2: its volume is no number")


@pytest.mark.parametrize(("listed", "own_digest"), [(None, "d"), ((1, 0), ""), (None, "")])
def test_a_row_that_was_left_out_is_believed_only_where_it_was_counted_and_digested(
    listed: Any, own_digest: str
) -> None:
    seen = snapshot(position())
    assert seen.evidence is not None
    torn = left_out(seen, listed, faults=(ROW,), digest=own_digest)
    said = "The list cannot be read in full: row 2: its volume is no number"
    assert objection(torn) == (Reason.TORN, said, TORN)
    whole = left_out(seen, (1, 0), faults=(ROW,), digest=seen.evidence.digest)
    assert judge(whole, BOUND, SEEN) == Trusted(whole)


@pytest.mark.parametrize(
    ("faults", "named"), [((), ""), ((ROW, RowFault("row 3")), " (row 2: its volume is no number)")]
)
def test_a_digest_that_differs_names_the_first_row_that_cannot_be_read(
    faults: tuple[RowFault, ...], named: str
) -> None:
    torn = left_out(snapshot(position()), (1, 0), faults=faults, digest="another")
    said = f"The list does not have the digest that came with it{named}"
    assert objection(torn) == (Reason.TORN, said, TORN)


def test_an_empty_list_is_one_of_no_positions_whatever_pending_orders_there_are() -> None:
    """A position that was left out of it is one; a pending order is none."""
    with_order = snapshot(orders=(ORDER,), account=account(profit=5.0))
    listed = left_out(with_order, (0, 1))
    assert objection(listed)[0] is Reason.ACCOUNT_CONTRADICTS
    one_left_out = snapshot(account=account(profit=5.0), count_before=(1, 0), count_after=(1, 0))
    assert one_left_out.evidence is not None
    believed = left_out(one_left_out, (1, 0), faults=(ROW,), digest=one_left_out.evidence.digest)
    assert judge(believed, BOUND, SEEN) == Trusted(believed)


@pytest.mark.parametrize(
    ("field", "is_compared"), [("profit", False), ("swap", False), ("comment", True)]
)
def test_a_result_that_cannot_be_read_is_in_no_sum(field: str, *, is_compared: bool) -> None:
    seen = snapshot(position(profit=5.0), account=account(profit=50.0))
    note = FieldNote(7, field, "str", "x")
    noted = msgspec.structs.replace(seen, notes=(note,))
    verdict = judge(noted, BOUND, SEEN)
    assert isinstance(verdict, Unknown if is_compared else Trusted)


@pytest.mark.parametrize(
    ("listed", "is_compared"), [((1, 0), True), ((2, 0), False), ((1, 1), True), (None, True)]
)
def test_a_list_that_lacks_a_position_has_no_sum(listed: Any, *, is_compared: bool) -> None:
    orders = (ORDER,) if listed == (1, 1) else ()
    counts = listed or (1, 0)
    seen = snapshot(
        position(profit=5.0),
        account=account(profit=50.0),
        orders=orders,
        count_before=counts,
        count_after=counts,
    )
    assert seen.evidence is not None
    faults = (ROW,) if listed == (2, 0) else ()
    given = left_out(seen, listed, faults=faults, digest=seen.evidence.digest)
    assert isinstance(judge(given, BOUND, SEEN), Unknown if is_compared else Trusted)


@pytest.mark.parametrize(
    ("bounds", "is_believed"),
    [((0.0, 5.0), True), ((-5.0, 0.0), True), ((0.5, 5.0), False), ((-5.0, -0.5), False)],
)
def test_an_empty_list_is_believed_from_a_moment_without_a_result(
    bounds: tuple[float, float], *, is_believed: bool
) -> None:
    """Also where that was right before the reading, or right after it."""
    profit = max(bounds, key=abs)
    seen = snapshot(account=account(profit=profit), profit_bounds=bounds)
    assert isinstance(judge(seen, BOUND, SEEN), Trusted if is_believed else Unknown)


@pytest.mark.parametrize("profit", [10.0, 20.0])
def test_an_accounts_figure_may_be_one_of_its_bounds(profit: float) -> None:
    """A result that lies within them is believed, whichever of the two the account had last."""
    seen = snapshot(
        position(profit=15.0), account=account(profit=profit), profit_bounds=(10.0, 20.0)
    )
    assert judge(seen, BOUND, SEEN) == Trusted(seen)
