"""Who may do what: the allow file, its edits, the gate before the terminal, and how often."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.gateway_record import RequestInDoubt
from trueup.errors import KeysError, SettingsError
from trueup.gateway.access import allow_file as access_module
from trueup.gateway.access.admission import Terms, admission, is_loopback
from trueup.gateway.access.allow_file import Access, AllowFile, parse_allowed
from trueup.gateway.access.descriptors import connections_max, spare
from trueup.gateway.access.door import Client
from trueup.gateway.access.keys import MODES_ARE_CHECKED, new_keys
from trueup.gateway.access.permissions import NOT_ALLOWED, Gate
from trueup.gateway.access.rate_limit import BUCKETS_MAX, Rate, Rates
from trueup.protocol.requests import ACTIONS, ORDERS, QUERIES, Request
from trueup.runtime.time.clock import SystemClock

BOT = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
SCREEN = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
HASHED = "Yn#@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
LOGIN = 5_000_001


# The file.


def test_lines_say_who_may_do_what() -> None:
    text = f"""\
    # name   roles       accounts   public key

    bot1     trade       1,22       {BOT}     # in the cellar
    screen   read        *          {SCREEN} #x
    both\tread,trade  7\t{HASHED}
    """
    assert list(parse_allowed(text, "allow").values()) == [
        Access("bot1", BOT, True, frozenset({1, 22})),
        Access("screen", SCREEN, False, None),
        Access("both", HASHED, True, frozenset({7})),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"bot1 trade {BOT}", "3 of 4 fields: write NAME ROLES ACCOUNTS PUBLIC-KEY"),
        (f"bot1 trade 1, 2 {BOT}", "5 fields: write NAME ROLES ACCOUNTS PUBLIC-KEY, lists without"),
        (f"bot.1 trade * {BOT}", "name 'bot.1' is not valid: give letters, digits"),
        (f"bot1 write * {BOT}", "role 'write' is not known: give read or trade"),
        (f"bot1 trade, * {BOT}", "role '' is not known"),
        (f"bot1 trade all {BOT}", "account 'all' is no login: give numbers"),
        (f"bot1 trade 1,,2 {BOT}", "account '' is no login"),
        (f"bot1 trade -1 {BOT}", "account '-1' is no login"),
        (f"bot1 trade ٣ {BOT}", "is no login"),
        (f"bot1 trade * {BOT[:-1]}", "the key, of 39 characters, is no public key: give the 40"),
        (f"bot1 trade * {'%' * 40}", "the key, of 40 characters, is no public key"),
        (f"screen read * {BOT}", "this name is in line 1 too"),
        (f"bot1 trade * {SCREEN}", "this key is in line 1 too"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_what_is_right(line: str, said: str) -> None:
    with pytest.raises(KeysError) as caught:
        parse_allowed(f"screen read * {SCREEN}\n# comment\n{line}\n", "keys/allow")
    assert str(caught.value).startswith("keys/allow, line 3: ")
    assert said in str(caught.value)


def test_what_is_in_place_of_a_key_is_not_repeated() -> None:
    """It may be a secret that somebody pasted."""
    with pytest.raises(KeysError) as caught:
        parse_allowed("bot1 trade * my-secret-of-all", "allow")
    assert "my-secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        parse_allowed(text, "allow")
    except KeysError as error:
        assert str(error).startswith("allow, line ")
        assert "\n" not in str(error)


# Its edits.


class Edited:
    """An allow file whose clock a test has in its hands; `edit` dates it a minute later."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path = folder / "allow"
        self.now_ns = 1_700_000_000_000_000_000
        self.edit(text)
        self.file = AllowFile(self.path, lambda: self.now_ns)
        self.reads = 0

    def edit(self, text: str, *, later_ns: int = 60_000_000_000) -> None:
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o644)
        self.now_ns += later_ns
        os.utime(self.path, ns=(self.now_ns, self.now_ns))

    def wait(self) -> None:
        self.now_ns += 60_000_000_000


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path, f"bot1 trade * {BOT}\n")


def test_an_edit_counts_from_the_next_question_on(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert edited.file.find(BOT) == Access("bot1", BOT, True, None)
    assert edited.file.find(SCREEN) is None
    edited.edit(f"bot1 read 5 {BOT}\nscreen read * {SCREEN}\n")
    assert edited.file.find(BOT) == Access("bot1", BOT, False, frozenset({5}))
    assert edited.file.find(SCREEN) is not None
    edited.edit("# nobody\n")
    assert edited.file.find(BOT) is None
    assert "was read again: 2 clients" in caplog.text
    assert "was read again: 0 clients" in caplog.text


def test_a_broken_edit_keeps_the_last_good_one_and_is_told_once(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    for broken in (f"bot1 trade {BOT}\n", "", "  \n", "\ufeff"):
        caplog.clear()
        edited.edit(broken)
        for _ in range(3):
            assert edited.file.find(BOT) is not None
            edited.wait()
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert str(edited.path) in told[0]
        assert told[0].endswith("The last valid version stays in force.")
    edited.edit(f"screen read * {SCREEN}\n")
    assert edited.file.find(BOT) is None
    assert edited.file.find(SCREEN) is not None


def test_a_file_that_says_again_what_it_said_is_told_to_be_good_again(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert edited.file.find(BOT) is not None
    good = edited.path.read_text("utf-8")
    edited.edit("")
    edited.wait()
    assert edited.file.find(BOT) is not None
    edited.edit(good)
    assert edited.file.find(BOT) is not None
    last = caplog.records[-1].getMessage()
    assert last == f"[ACCESS] {edited.path} was read again: 1 clients"


def test_a_file_that_is_empty_for_the_moment_of_an_edit_changes_nothing_and_is_no_trouble(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    good = edited.path.read_text("utf-8")
    for _ in range(100):
        # The first half of a save, as most programs do it, and the second.
        edited.edit("")
        assert edited.file.find(BOT) is not None
        edited.edit(good)
        assert edited.file.find(BOT) is not None
    assert caplog.records == []
    # The same moment counts for nothing when the file then stays as it is.
    edited.edit("")
    assert edited.file.find(BOT) is not None
    edited.wait()
    assert edited.file.find(BOT) is not None
    assert len(caplog.records) == 1
    assert "is empty" in caplog.text


def test_a_file_that_is_gone_or_no_text_changes_nothing(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    edited.path.unlink()
    assert edited.file.find(BOT) is not None
    # The reason is the system's own.
    assert "cannot be read (" in caplog.text
    edited.path.write_bytes(f"screen read * {SCREEN}".encode("utf-16"))
    assert edited.file.find(BOT) is not None
    assert "is not text: save it as UTF-8." in caplog.text
    edited.edit(f"screen read * {SCREEN}\n")
    assert edited.file.find(BOT) is None


@pytest.mark.skipif(not MODES_ARE_CHECKED, reason="POSIX modes")
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused(edited: Edited, mode: int) -> None:
    edited.edit(f"screen read * {SCREEN}\n")
    edited.path.chmod(mode)
    assert edited.file.find(SCREEN) is None
    with pytest.raises(KeysError, match=rf"\(mode {mode:04o}\): run `chmod go-w "):
        AllowFile(edited.path, lambda: edited.now_ns)
    edited.wait()
    assert edited.file.find(SCREEN) is None
    edited.path.chmod(0o644)
    assert edited.file.find(SCREEN) is not None


def test_two_edits_within_one_tick_of_the_files_clock_are_both_seen(edited: Edited) -> None:
    edited.edit(f"bot1 trade * {BOT}\n")
    assert edited.file.find(BOT) is not None
    # Same length, same date.
    edited.edit(f"bot1 trade * {SCREEN}\n", later_ns=0)
    assert edited.file.find(BOT) is None
    assert edited.file.find(SCREEN) is not None


def test_a_file_that_nobody_touches_is_not_read_again(
    edited: Edited, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited.wait()
    edited.file.find(BOT)
    monkeypatch.setattr(access_module, "_read", None)
    assert edited.file.find(BOT) is not None


# The gate.


def gate(folder: Path, line: str, rates: Rates | None = None) -> Gate:
    return Gate(Edited(folder, line).file, rates)


def never() -> int:
    raise AssertionError("the terminal was asked")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_read_key_may_ask_and_may_not_change(tmp_path: Path, action: str) -> None:
    asked, client = Request(action), Client((b"way",), SCREEN)
    one = gate(tmp_path, f"screen read * {SCREEN}")
    right = None if action in QUERIES else "key screen may only read"
    assert one.refusal(client, asked) == right
    assert one.last_refusal(client, asked, never) == right
    trader = gate(tmp_path, f"screen trade * {SCREEN}")
    assert trader.refusal(client, asked) is None


def test_a_read_key_may_not_withdraw_orders_by_being_in_doubt_of_them(tmp_path: Path) -> None:
    asked, client = Request("SNAPSHOT", in_doubt=(RequestInDoubt("A"),)), Client((b"way",), SCREEN)
    refusal = gate(tmp_path, f"screen read * {SCREEN}").refusal(client, asked)
    assert refusal is not None
    assert "may only read" in refusal
    assert gate(tmp_path, f"screen trade * {SCREEN}").refusal(client, asked) is None


def test_every_action_is_a_query_an_order_or_a_claim_and_others_need_the_right_to_trade(
    tmp_path: Path,
) -> None:
    assert not QUERIES & ORDERS
    assert set(ACTIONS) == {*QUERIES, *ORDERS, "CLAIM"}
    one = gate(tmp_path, f"screen read * {SCREEN}")
    refusal = one.refusal(Client((b"way",), SCREEN), Request("INVENTED_TOMORROW"))
    assert refusal == "key screen may only read"


def test_a_key_is_for_its_accounts_and_the_terminal_says_which_it_has(tmp_path: Path) -> None:
    client, asked = Client((b"way",), BOT), Request("GET_POSITIONS")
    one = gate(tmp_path, f"bot1 trade 7,{LOGIN} {BOT}")
    assert one.refusal(client, asked) is None
    assert one.last_refusal(client, asked, lambda: LOGIN) is None
    other = one.last_refusal(client, asked, lambda: 8)
    assert other == f"key bot1 is for account 7, {LOGIN}, and the terminal has another"
    unknown = one.last_refusal(client, asked, lambda: None)
    assert unknown is not None
    assert unknown.startswith("the terminal does not say which account it has")
    anywhere = gate(tmp_path, f"bot1 trade * {BOT}")
    assert anywhere.last_refusal(client, asked, never) is None


@pytest.mark.parametrize("user", ["", SCREEN])
def test_who_is_not_in_the_file_gets_nothing(tmp_path: Path, user: str) -> None:
    one, client = gate(tmp_path, f"bot1 trade * {BOT}"), Client((b"way",), user)
    for action in ACTIONS:
        assert one.refusal(client, Request(action)) == NOT_ALLOWED
        assert one.last_refusal(client, Request(action), never) == NOT_ALLOWED


def test_without_keys_everything_is_let_through() -> None:
    for action in ACTIONS:
        assert Gate().refusal(Client((b"way",)), Request(action)) is None
        assert Gate().last_refusal(Client((b"way",)), Request(action), never) is None


# How often.


class Hands:
    """A clock that a test moves."""

    now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_a_client_has_its_burst_and_then_its_rate() -> None:
    clock = Hands()
    rates = Rates(Rate(per_sec=10, burst=3), clock)
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 100]
    assert rates.take("b") == 0
    clock.now_ns += 99_000_000
    assert rates.take("a") == 1
    clock.now_ns += 1_000_000
    assert [rates.take("a") for _ in range(2)] == [0, 100]
    clock.now_ns += 3_600_000_000_000
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 100]


@given(
    steps=st.lists(st.integers(-3_600_000, 5_000), max_size=200),
    per_sec=st.floats(0.1, 1e4),
    burst=st.integers(1, 50),
)
def test_nobody_gets_more_than_the_burst_and_the_rate(
    steps: list[int], per_sec: float, burst: int
) -> None:
    """Also where the clock is set back, which makes nobody wait longer than for one token."""
    clock, went_on_ns, taken = Hands(), 0, 0
    rates = Rates(Rate(per_sec, burst), clock)
    for step_ms in steps:
        clock.now_ns += step_ms * 1_000_000
        went_on_ns += max(0, step_ms) * 1_000_000
        wait_ms = rates.take("a")
        taken += wait_ms == 0
        assert wait_ms <= 1e3 / per_sec + 1
    assert taken <= burst + went_on_ns / 1e9 * per_sec + 1


def test_buckets_of_the_past_are_forgotten() -> None:
    rates = Rates(Rate(per_sec=1, burst=1), Hands())
    assert all(rates.take(number) == 0 for number in range(BUCKETS_MAX + 1))
    assert rates.take(1) > 0
    assert rates.take(0) == 0


def test_who_asks_too_often_is_told_by_name_and_for_how_long(tmp_path: Path) -> None:
    clock, client = Hands(), Client((b"way",), BOT)
    one = gate(tmp_path, f"bot1 trade * {BOT}", Rates(Rate(per_sec=2, burst=1), clock))
    assert one.refusal(client, Request("PING")) is None
    said = one.refusal(client, Request("PING"))
    assert said == "key bot1 asks more than 2 times a second (and 1 at once): wait 500 ms"
    assert one.refusal(Client((b"way",), SCREEN), Request("PING")) == NOT_ALLOWED
    clock.now_ns += 500_000_000
    assert one.refusal(client, Request("PING")) is None
    plain = Gate(None, Rates(Rate(per_sec=2, burst=1), clock))
    assert plain.refusal(Client((b"a",)), Request("PING")) is None
    assert plain.refusal(Client((b"b",)), Request("PING")) is None
    assert "this connection asks more than" in (
        plain.refusal(Client((b"a",)), Request("PING")) or ""
    )


# The terms.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path / ".trueup" / "keys"


Now = Callable[[], int]
NOW: Now = SystemClock().now_ns


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("[::1]", True)),
        *(("0.0.0.0", False), ("*", False), ("10.0.0.1", False), ("eth0", False), ("::", False)),
    ],
)
def test_only_loopback_needs_no_keys(host: str, is_it: bool, home: Path) -> None:
    assert is_loopback(host) is is_it
    if is_it:
        assert admission(host, Terms(), NOW).door.lock is None
        return
    with pytest.raises(SettingsError) as caught:
        admission(host, Terms(), NOW)
    assert str(caught.value) == (
        f"--key='{home / 'gateway.key_secret'}' is not valid: off this machine ({host}) a "
        "gateway needs this file: `trueup keys new gateway` makes it; or say --plain."
    )


def test_off_this_machine_it_is_locked_with_the_keys_at_home(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = new_keys(home, "gateway")
    with pytest.raises(SettingsError, match=r"--allow='.*new bot1` on the .*or say --plain") as one:
        admission("0.0.0.0", Terms(), NOW)
    assert "such as `bot1  trade  *  PUBLIC-KEY`" in str(one.value)
    # With a key at hand it is the very line.
    own = new_keys(home, "bot7").public
    with pytest.raises(SettingsError) as caught:
        admission("0.0.0.0", Terms(), NOW)
    assert f"write into it `bot7  trade  *  {own}`; or say --plain" in str(caught.value)
    (home / "allow").write_text(f"bot1 trade * {BOT}\n", encoding="utf-8")
    (home / "allow").chmod(0o644)
    lock = admission("0.0.0.0", Terms(), NOW).door.lock
    assert lock is not None
    assert lock.keys.public == gateway.public
    assert f"Encrypted, with public key {gateway.public}; " in caplog.text
    assert "lets in 1 clients" in caplog.text
    assert lock.keys.secret not in caplog.text


def test_loopback_is_locked_too_where_keys_are_given(home: Path) -> None:
    gateway = new_keys(home, "own")
    (home / "who").write_text(f"bot1 trade * {BOT}\n", encoding="utf-8")
    (home / "who").chmod(0o644)
    terms = Terms(key_file=gateway.secret_file, allow_file=home / "who")
    assert admission("127.0.0.1", terms, NOW).door.lock is not None


def test_plain_text_off_this_machine_warns_and_does_not_go_with_keys(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert admission("127.0.0.1", Terms(is_plain=True), NOW).door.lock is None
    assert not caplog.records
    for _ in range(2):
        caplog.clear()
        assert admission("0.0.0.0", Terms(is_plain=True), NOW).door.lock is None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "PLAIN TEXT at 0.0.0.0: whoever reaches this port can" in caplog.text
    with pytest.raises(SettingsError, match="--plain='here' is not valid: --key and --allow"):
        admission("0.0.0.0", Terms(key_file=Path("here"), is_plain=True), NOW)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize(
    ("soft", "hard", "raised_to", "room"),
    [
        (20_000, 20_000, 8_192, 1_000),
        (1_024, 524_288, 8_192, 1_000),
        (8_192, 524_288, None, 1_000),
        (256, -1, 8_192, 1_000),
        (-1, -1, 8_192, 1_000),
        (1_024, 1_024, 960, 224),
        (100, 100, 88, 16),
    ],
)
def test_the_limit_of_files_is_set_below_what_the_system_allows_and_above_the_room(
    soft: int, hard: int, raised_to: int | None, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    raised: list[int] = []
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits[0]))
    assert connections_max() == room
    assert raised == ([] if raised_to is None else [raised_to])

    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert connections_max() <= room


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_spare_files_are_there_while_any_thread_needs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    limits = [(100, 400)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, one: limits.append(one))
    with spare():
        assert limits[-1] == (400, 400)
        with pytest.raises(OSError, match="inside"), spare():
            raise OSError("inside")
        assert limits[-1] == (400, 400)
    assert limits == [(100, 400), (400, 400), (100, 400)]
