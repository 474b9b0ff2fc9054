"""A book of very many rows: the page stays small, and shows every difference that fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.browser import DESK, PHONE, gives_axe, looks_good, resize
from tests.page.folder import Folder
from tests.page.test_screens import opened
from tests.support.make import position
from trueup.core.book import events
from trueup.doors.page.people import Person
from trueup.doors.page.screens import render, render_parts, values_of
from trueup.doors.watch import Seen
from trueup.journal import open_journal
from trueup.observe.status.status import BookRow, Side, State, Status, Verdict

ROWS = 10_000
LARGE = range(195_000_000, 195_000_000 + ROWS)
ANNA = Person("anna", True, "token")
SIDE = Side("LONG", 0.1, 1.1)


def row(ticket: int, verdict: Verdict) -> BookRow:
    symbol = "EURUSD" if ticket % 2 else "GBPUSD"
    other = None if verdict is Verdict.ONLY_BOOK else SIDE
    return BookRow(
        ticket=ticket, identifier=ticket, symbol=symbol, ours=SIDE, broker=other, verdict=verdict
    )


def seen(different: int) -> Seen:
    books = [
        row(n, Verdict.ONLY_BOOK if n <= different else Verdict.AGREES) for n in range(1, ROWS + 1)
    ]
    status = Status(
        state=State.NEEDS_PERSON,
        sentence="The books differ.",
        works="",
        basis="",
        source="bot",
        now="2026-01-05T14:00:00.000+00:00",
        books=books,
    )
    return Seen(1, 0, (status,))


def shown(screen: str, different: int, find: str = "") -> str:
    values = values_of(seen(different), ANNA, "", find)
    return render(screen, {**values, "link": lambda path, **_: path, "live": "/live"})


def test_ten_thousand_rows_are_a_small_page_with_the_differences_first() -> None:
    text = shown("books", 3)
    assert len(text) < 40_000
    assert text.count("only in the book") == 3
    assert "and 9947 more that agree" in text
    assert len(shown("now", 3).encode()) < 10_000


def test_ten_thousand_differences_are_counted() -> None:
    text = shown("books", ROWS)
    assert text.count("only in the book") == 200
    assert "and 9800 more that differ: give a symbol above." in text


def test_a_ticket_or_a_symbol_is_found_among_them() -> None:
    text = shown("books", 3, "7777")
    assert (text.count("<tr>"), ">7777<" in text) == (2, True)
    assert "and 4950 more that agree" in shown("books", 0, "gbpusd")


def test_only_what_changed_is_sent_again() -> None:
    values = {
        **values_of(seen(3), ANNA, ""),
        "link": lambda path, **_: path,
    }
    parts = render_parts("books", values)
    assert set(parts) == {"state", "books", "basis", "spoken"}
    assert parts == render_parts("books", values)


@pytest.mark.timeout(300)
def test_ten_thousand_positions_are_read_in_a_browser(browser: Any, folder: Folder) -> None:
    """The book of a bot that has ended, from its journal, on a phone and on a desk."""
    file = folder.folder / "large.db"
    with open_journal(file, "EURUSD", now_ns=lambda: 1) as journal:
        journal.append([events.PositionAdopted(at_ns=1, position=position(n)) for n in LARGE])
    page = folder.page("--journal", str(file))
    page.reader.wait_for("/books", f"and {ROWS - 50} more")
    window = opened(browser, page)
    gives_axe(window)
    for path in ("/", "/books", "/story", "/accounts"):
        looks_good(window, page.address + path)
    for size in (PHONE, DESK):
        resize(window, size)
        window.goto(f"{page.address}/books")
        assert window.locator("#books tbody tr").count() == 50
        window.get_by_label("Ticket or symbol").fill(str(LARGE[-1]))
        window.get_by_role("button", name="Show").click()
        window.wait_for_url(f"**/books?find={LARGE[-1]}")
        assert window.locator("#books tbody tr").count() == 1
