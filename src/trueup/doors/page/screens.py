"""Render the screens: a whole page, or only the parts of one that have changed.

Each template has blocks whose names begin with `live_`. A block is a part of the page that is
replaced by itself when its text changes, so a reader's place and focus stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from trueup.doors.page.people import Person
from trueup.doors.page.words import (
    FILTERS,
    is_proposal,
    is_told,
    label_of,
    other_needs,
    title_of,
    tone_of,
)
from trueup.doors.watch import Seen, key_of
from trueup.observe.lines import moment_of
from trueup.observe.status.status import BookRow, Status, Verdict

HERE = Path(__file__).parent
SCREENS = ("now", "books", "orders", "story", "accounts", "approve")
"""The screens of the navigation; the first is the home."""
LIVE = "live_"
NOT_TOLD = frozenset({Verdict.AGREES, Verdict.NOT_ASKED})
# A phone shows so many rows without work; the rest is a click away.
AGREEING_MOST = 50
DIFFERENT_MOST = 200


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    made.globals.update(
        key_of=key_of,
        label_of=label_of,
        tone_of=tone_of,
        other_needs=other_needs,
        is_told=is_told,
        is_proposal=is_proposal,
        screens=SCREENS,
    )
    return made


_ENVIRONMENT = _environment()


def _template(name: str) -> Template:
    # Parts are rendered alone too, where the imports of a template do not count. Compiled for the
    # first screen that has them: a sign-in need not wait.
    if "part" not in _ENVIRONMENT.globals and name != "sign_in":
        _ENVIRONMENT.globals["part"] = _ENVIRONMENT.get_template("state.html").module
    if "fleet" not in _ENVIRONMENT.globals and name.startswith("fleet"):
        _ENVIRONMENT.globals["fleet"] = _ENVIRONMENT.get_template("fleet_parts.html").module
    return _ENVIRONMENT.get_template(f"{name}.html")


def render(name: str, values: Mapping[str, Any]) -> str:
    """Return a screen as a whole page."""
    template = _template(name)
    return template.render(screen=name, **values)


def render_parts(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of a screen that change, by their ids in the page."""
    template = _template(name)
    context = template.new_context({"screen": name, **values})
    # The sentence for screen readers is a part of every screen.
    base = _ENVIRONMENT.get_template("base.html").blocks
    blocks: dict[str, Callable[[Any], Iterator[str]]] = {**base, **template.blocks}
    return {
        block.removeprefix(LIVE): "".join(write(context)).strip()
        for block, write in blocks.items()
        if block.startswith(LIVE)
    }


def values_of(seen: Seen, person: Person, book: str, wanted: str = "") -> dict[str, Any]:
    """Return what every screen shows.

    Args:
        seen: the latest statuses.
        person: the reader.
        book: the key of the chosen book, empty for the worst.
        wanted: only the rows with this ticket or symbol are listed; empty for all.
    """
    status = seen.book(book)
    return {
        "s": status,
        "book": key_of(status) if book else "",
        "seen": seen,
        "person": person,
        "title": title_of(seen.statuses),
        "others": [one for one in seen.statuses if one is not status],
        "no_buttons": no_buttons(status, person),
        "shown": shown_rows(status, wanted),
        "wanted": wanted,
        "reading": reading_words(status),
    }


def no_buttons(status: Status, person: Person) -> str:
    """Return why a person cannot decide anything here now; empty if they can."""
    if not person.may_act:
        return f"You read as {person.name}. Only an approver's token shows buttons."
    if status.source != "bot":
        return "No bot answers, so nothing can be decided here."
    return ""


class Shown:
    """The rows of both books that are listed, and the counts of the rows that are not."""

    def __init__(self, rows: list[BookRow]) -> None:
        different = [row for row in rows if row.verdict not in NOT_TOLD]
        alike = [row for row in rows if row.verdict in NOT_TOLD]
        self.different: list[BookRow] = different[:DIFFERENT_MOST]
        self.more_different: int = len(different) - len(self.different)
        self.alike: list[BookRow] = alike[:AGREEING_MOST]
        self.more_alike: int = len(alike) - len(self.alike)


def shown_rows(status: Status, wanted: str) -> Shown:
    """Return the rows of both books that are listed."""
    word = wanted.strip().lower()
    rows = status.books
    if word:
        rows = [row for row in rows if word in (str(row.ticket), row.symbol.lower())]
    return Shown(rows)


def reading_words(status: Status) -> str:
    """Say how old the broker's side is, and whether that is too old to be called the present."""
    if status.checked is None:
        return "The broker's side is not known."
    at = moment_of(status.checked, status.now)
    if status.source != "bot":
        return f"The broker was last asked at {at}."
    return f"The broker's side is of {at}."
