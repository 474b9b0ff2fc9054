"""A run is told in words and drawn on a page: all of it, in order, and whatever its texts are."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.oracle.histories import LOGIN, History, held, opened
from trueup.cli import app
from trueup.core.account.trust import Reason
from trueup.lab.facts import facts
from trueup.lab.facts.facts import Violation
from trueup.lab.plan.plan import Fault, Strike, calm, draw
from trueup.lab.report.drawing import DARK, LIGHT, MOST_CHARACTERS, page
from trueup.lab.report.scenes import BOOK, Scenes
from trueup.lab.report.telling import OVER, lines, story
from trueup.lab.runs.run import run
from trueup.lab.system.schedule import BEGIN_NS

EVIL = "</title><script>alert('&\"')</script> é 中"


@functools.cache
def told_run(seed: int) -> tuple[tuple[facts.Fact, ...], list[Violation]]:
    """Live through a seed's plan once, and return its facts and verdicts."""
    told: list[facts.Fact] = []
    report = run(draw(seed), tell=told.append)
    return tuple(told), report.violations


def order_history() -> History:
    """One order as a bot's own journal has it, so that it can be told in the journal's words."""
    return (
        History()
        .start()
        .intent()
        .send()
        .execute()
        .filled()
        .tell(facts.Faulted, kind="PARTITION", what="the network is cut")
        .synced(believed=False, said="No reply within 2000 ms")
        .stopped(result_units=-500_000_000)
        .tell(facts.Died, bot="A", where="between two turns")
    )


def test_an_order_is_told_from_intent_to_end() -> None:
    said = [(line.who, line.words) for line in lines(order_history().facts)]
    assert said == [
        ("A", "starts on a journal of 0 events"),
        ("A", "[1] INTENT O1: BUY 0.10L EURUSD, market at 1.1"),
        ("A", "sends O1"),
        ("broker", "books deal 1000 into position 100: bought 0.10L EURUSD @ 1.1 by a program"),
        ("broker", "opens position 100: LONG 0.10L EURUSD @ 1.1, magic 7"),
        ("broker", "executes O1 (BUY 0.10L EURUSD) as order 100"),
        ("A", "[3] FILLED O1: BUY 0.10L @ 1.1"),
        ("fault", "the network is cut"),
        ("A", "looks at the broker: DEGRADED. No reply within 2000 ms"),
        (
            "broker",
            "books deal 2100 out of position 100: sold 0.10L EURUSD @ 1.1 by its stop loss, "
            "which brought -5.00",
        ),
        ("broker", "closes position 100: LONG 0.10L EURUSD"),
        ("A", "dies: between two turns"),
    ]


def test_a_change_at_the_broker_says_what_was_before() -> None:
    history = History().tell(facts.PositionShown, login=LOGIN, position=held())
    moved = held(units=5_000_000, sl=1.05, ticket=101)
    history.tell(facts.PositionShown, login=LOGIN, position=moved)
    assert [line.words for line in lines(history.facts)][1:] == [
        "changes position 100: 0.10L → 0.05L, ticket 100 → 101, stop loss none → 1.05"
    ]


def test_a_quiet_sync_is_told_once_until_something_happens() -> None:
    history = opened().synced().synced().synced()
    history.tell(facts.Faulted, kind="ROBOT", what="another robot trades").synced().synced()
    looks = [n for n, line in enumerate(lines(history.facts)) if "looks" in line.words]
    assert len(looks) == 3


def test_what_an_entry_costs_is_no_profit() -> None:
    history = order_history()
    told = [
        msgspec.structs.replace(fact, result_units=-4_000_000)
        if isinstance(fact, facts.DealBooked)
        else fact
        for fact in history.facts
    ]
    said = [line.words for line in lines(told) if line.words.startswith("books deal")]
    assert [words.rpartition(", ")[2] for words in said] == [
        "commission -0.04",
        "which brought -0.04",
    ]


def test_where_a_fault_kills_a_bot_is_told_once() -> None:
    fault = Fault.KILL_BEFORE_INTENT
    history = History().start()
    at_ns = history.now_ns
    killed = facts.Faulted(at_ns, fault.name, f"{fault.value}: A")
    dies = facts.Died(at_ns, "A", "before intent")
    assert [line.words for line in lines([killed, dies])] == [killed.what, "dies"]
    # Another bot's end, and one at another time, have a reason of their own.
    other = facts.Died(at_ns, "B", "between two turns")
    later = facts.Died(at_ns + 1, "A", "in good order")
    assert [line.words for line in lines([killed, other, later])][1:] == [
        "dies: between two turns",
        "dies: in good order",
    ]


def test_a_look_is_told_without_contradicting_itself() -> None:
    no_disk = "Degraded: the journal takes nothing: no answer; the book is unchanged."
    history = opened().synced(said=no_disk)
    history.synced(said="Everything agrees (checked 0 s ago).")
    history.synced(believed=False, status="FAILED", said="")
    looks = [line.words for line in lines(history.facts) if "looks" in line.words]
    assert looks[-3:] == [
        "looks at the broker: it answers, but the journal takes nothing: no answer; "
        "the book is unchanged.",
        "looks at the broker: Everything agrees.",
        "looks at the broker: FAILED. The journal did not take the result",
    ]


def test_a_story_begins_with_the_run_and_its_setting() -> None:
    told, _ = told_run(5)
    first = next(lines(told))
    assert first.at_ns == BEGIN_NS
    assert story(told).startswith("    0.000  world    The account is a ")
    setting = draw(5).setting
    assert ("netting" if setting.netting else "hedging") in first.words
    assert ("with magic 7" if setting.owns_magic else "in their symbol") in first.words
    assert f"a sync comes every {setting.sync_interval_ms / 1000:g} s" in first.words
    assert f"{setting.offset_minutes:+d} minutes from UTC" in first.words


def test_a_fault_is_told_with_the_number_that_only_takes() -> None:
    said = 0
    for seed in (0, 1, 2, 113):
        plan = draw(seed)
        told, _ = told_run(seed)
        for line in lines(told):
            found = re.search(r" \(number ([0-9 or]+)\)$", line.words)
            assert bool(found) is (line.kind == "fault" and "journal is cut" not in line.words)
            for number in found[1].split(" or ") if found else ():
                (strike,) = plan.only(frozenset({int(number)})).strikes
                assert line.words.startswith(strike.fault.value)
                assert strike.at_ms * 1_000_000 <= line.at_ns - BEGIN_NS
                said += 1
            # What strikes at once is known for sure.
            if found and line.words.startswith("the terminal is disconnected"):
                assert found[1].isdigit()
    assert said > 10


def test_why_a_look_was_not_believed_is_told_in_the_sentence_about_it() -> None:
    setting = msgspec.structs.replace(draw(0).setting, pins_account=False, sync_interval_ms=1_000)
    strikes = (Strike(1, 5_000, Fault.OTHER_ACCOUNT),)
    told: list[facts.Fact] = []
    run(msgspec.structs.replace(draw(0), setting=setting, strikes=strikes), tell=told.append)
    looks = " ".join(line.words for line in lines(told) if "looks" in line.words)
    assert "FAILED. The terminal is logged in to 5000002@" in looks
    assert not [reason for reason in Reason if re.search(rf"[,.] {reason.value}\b", looks)]


def test_the_cases_that_a_story_names_are_explained_at_its_end() -> None:
    told, _ = told_run(5)
    tale = list(lines(told))
    ends = {line.who: line.words for line in tale if line.who.startswith("case ")}
    assert ends["case K"] == "filled, and closed since: record the exit"
    named = set(re.findall(r"case [A-L]\b", " ".join(line.words for line in tale)))
    assert set(ends) == named
    assert [line.who for line in tale[-len(ends) :]] == sorted(named)


def struck_run(*faults: Fault) -> list[facts.Fact]:
    """Live through a run in which nothing but these faults strikes, and return its facts."""
    strikes = tuple(Strike(n, 6_000 * n, fault) for n, fault in enumerate(faults, start=1))
    told: list[facts.Fact] = []
    run(msgspec.structs.replace(calm(0), strikes=strikes), tell=told.append)
    return told


def test_a_takeover_and_a_kill_are_told_only_where_they_happened() -> None:
    told = struck_run(Fault.TAKEN_OVER)
    takeovers = [f for f in told if isinstance(f, facts.Faulted) and f.kind == "TAKEN_OVER"]
    starts = [f for f in told if isinstance(f, facts.Started) and f.bot == "B"]
    assert len(takeovers) == len(starts) == 1
    told = struck_run(Fault.KILL_ANYWHERE, Fault.KILL_ANYWHERE)
    kills = [n for n, f in enumerate(told) if getattr(f, "kind", "") == "KILL_ANYWHERE"]
    assert kills
    for place in kills:
        later = (f for f in told[place:] if isinstance(f, facts.Died | facts.Started))
        assert isinstance(next(later), facts.Died)


def test_a_broken_promise_is_told_where_it_broke_with_its_name() -> None:
    history = order_history()
    broken = Violation(2, "O1 was executed twice", history.facts[6].at_ns)
    said = [line.words for line in lines(history.facts, [broken])]
    assert said.index("PROMISE 2 (at most once) IS BROKEN: O1 was executed twice") == 6


@pytest.mark.parametrize("width", [80, 100])
def test_a_whole_run_is_told_within_the_width(width: int) -> None:
    for seed in range(8):
        told, violations = told_run(seed)
        text = story(told, violations, width)
        assert max(map(len, text.splitlines())) <= width
        struck = [fact for fact in told if isinstance(fact, facts.Faulted)]
        assert sum(line.kind == "fault" for line in lines(told)) >= len(struck)
        # The encore is told as well.
        assert OVER in [line.words for line in lines(told)]


class Reader(HTMLParser):
    """Reads a page as a browser does: its tags in balance, its texts, and what it would fetch."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.texts: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag without content."""
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take note of a text."""
        self.texts.append(data)


def read(text: str) -> Reader:
    """Read a page to its end."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_a_page_stands_alone_and_says_all_that_the_story_says() -> None:
    for seed in range(6):
        told, violations = told_run(seed)
        text = page(told, violations, f"Seed {seed}")
        reader = read(text)
        # Nothing but links to the page's own lines.
        lines_there = set(re.findall(r'<tr id="(l\d+)"', text))
        assert reader.fetched
        assert {link.removeprefix("#") for link in reader.fetched} <= lines_there
        assert "script" not in reader.seen
        assert "url(" not in text
        for line in lines(told, violations):
            assert line.words in reader.texts
        drawing = text[text.index("<svg") : text.index("</svg>") + 6]
        marks = ET.fromstring(drawing).findall(".//a/path/title")
        kinds = {"fault", "request", "bot", "decision", "death", "verdict"}
        assert len(marks) == sum(line.kind in kinds for line in lines(told, violations))


def test_a_page_takes_every_text_for_a_text() -> None:
    history = opened().tell(facts.Faulted, kind="X", what=EVIL)
    ugly = msgspec.structs.replace(held(101), symbol=EVIL)
    history.tell(facts.PositionShown, login=LOGIN, position=ugly)
    broken = Violation(1, EVIL, history.now_ns)
    reader = read(page(history.facts, [broken], EVIL))
    assert "script" not in reader.seen
    assert EVIL in reader.texts


def test_both_books_are_drawn_from_when_to_when_they_held_a_position() -> None:
    told, _ = told_run(2)
    drawing = page(told, [], "Seed 2")
    shown = {fact.position.identifier for fact in told if isinstance(fact, facts.PositionShown)}
    assert shown
    for identifier in shown:
        assert f">position {identifier} EURUSD<" in drawing
    assert drawing.count('<rect class="broker"') >= len(shown)
    assert drawing.count('<rect class="book"') > 0


def test_a_journal_that_makes_no_book_is_drawn_up_to_there() -> None:
    history = order_history()
    filled = next(f for f in history.facts if isinstance(f, facts.Journalled) and "Fill" in f.kind)
    again = msgspec.structs.replace(filled, position=4)
    place = history.facts.index(filled) + 1
    told = [*history.facts[:place], again, *history.facts[place:]]
    text = page(told, [], "twice")
    assert "event 4 (OrderFilled) does not fit the book" in text
    ends = [lane.spans for lane in Scenes(told).lanes]
    assert [span for spans in ends for span in spans if span[0] == BOOK][-1][2] == again.at_ns


def test_a_page_shows_when_the_books_differed_and_when_no_bot_ran() -> None:
    history = opened()
    history.tell(facts.PositionLeft, login=LOGIN, identifier=100)
    left_ns = history.now_ns
    history.tell(facts.Died, bot="A", where="between two turns")
    died_ns = history.now_ns
    history.now_ns += 5_000_000_000
    history.tell(facts.Ended)
    scenes = Scenes(history.facts)
    assert scenes.alive == [("A", history.facts[0].at_ns, died_ns)]
    assert scenes.differ("EURUSD")[-1] == (left_ns, scenes.end_ns)
    assert 'class="apart"' in page(history.facts, [], "apart")


def test_every_kind_of_fault_has_a_row_with_a_name_that_fits() -> None:
    named = [fault.value for fault in Fault]
    history = opened()
    for fault in Fault:
        history.tell(facts.Faulted, kind=fault.name, what=f"{fault.value}: something")
    drawn = read(page(history.facts, [], "all")).texts
    for name in named:
        short = name if len(name) <= MOST_CHARACTERS else name[:20]
        assert any(text.startswith(short) and len(text) <= MOST_CHARACTERS for text in drawn)


def test_a_fault_has_one_row_whatever_its_number_is() -> None:
    history = opened()
    for number in (3, 4):
        history.tell(facts.Faulted, kind="DISK_SLOW", what="the disk is slow", numbers=(number,))
    drawn = read(page(history.facts, [], "numbers")).texts
    assert drawn.count("the disk is slow") == 1
    assert "the disk is slow (number 4)" in drawn


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_texts_and_marks_can_be_told_from_the_page(scheme: dict[str, str]) -> None:
    for name in ("text", "faint", "fault", "bad", "decision"):
        assert contrast(scheme[name], scheme["page"]) >= 4.5
        assert contrast(scheme[name], scheme["calm"]) >= 4.5
    for name in ("broker", "book", "bot"):
        assert contrast(scheme[name], scheme["page"]) >= 3
        assert contrast(scheme[name], scheme["calm"]) >= 3
        assert contrast(scheme[name], scheme["apart"]) >= 3 or name == "bot"


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return how bright a colour is, from 0 to 1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_run_without_anything_is_a_page_too() -> None:
    assert story([]) == ""
    read(page([], [], "nothing"))


def test_the_command_tells_and_draws_a_seed(tmp_path: Path) -> None:
    target = tmp_path / "run.html"
    done = CliRunner().invoke(app, ["sim", "--seed", "3", "--trace", "--html", str(target)])
    told, violations = told_run(3)
    assert story(told, violations) in done.output
    assert "every promise was kept" in done.output or "broken" in done.output
    assert read(target.read_text(encoding="utf-8")).texts


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    no_file = ["--seed", "3", "--html", str(tmp_path / "no" / "run.html")]
    for arguments, code in ((["--trace"], 64), (no_file, 2)):
        done = CliRunner().invoke(app, ["sim", *arguments])
        assert done.exit_code == code
        assert "give" in done.output.lower()
        assert len(done.output.strip().splitlines()) <= 3
