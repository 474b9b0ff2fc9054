"""Claims of several programs on one machine, with real processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forking import needs_fork, program
from tests.support.posix_limits import posix_only
from tests.support.processes import stopped
from tests.support.servers import DEADLINE_SEC
from trueup.core.claims import WriterClaim, claimable, why_taken
from trueup.core.scope import Scope
from trueup.errors import ClaimRefused, NotSent
from trueup.filelock import LockableFile
from trueup.gateway.record import local_claims
from trueup.gateway.record.account_files import data_folder
from trueup.gateway.record.local_claims import LocalClaims
from trueup.processes import this_process

ROOT = Path(__file__).resolve().parents[2]
NOW_NS = 1_767_571_200_000_000_000
ACCOUNT = "5000001@Demo-Server"
# A program that claims the magic numbers of each line that it reads, and says what came of it.
SCRIPT = """
import sys
from pathlib import Path
from trueup.core.scope import Scope
from trueup.gateway.record.local_claims import LocalClaims

claims = LocalClaims(lambda: 1_767_571_200_000_000_000, Path(sys.argv[1]))
for line in sys.stdin:
    try:
        magics = tuple(map(int, line.split()))
        claims.claim(Scope("run-2", "second.py", account=sys.argv[2], magics=magics))
        print("claimed", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


def scope(*magics: int, run: str = "run-1", account: str = ACCOUNT, **more: Any) -> Scope:
    return Scope(run, "first.py", account=account, magics=magics, **more)


class Claimant:
    """Another process that claims as it is told."""

    def __init__(self, folder: Path, account: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), account],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def claim(self, *magics: int) -> str:
        """Let it claim, and return what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{' '.join(map(str, magics))}\n")
        return self.process.stdout.readline().rstrip("\n")

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[LocalClaims]:
    with LocalClaims(lambda: NOW_NS, tmp_path) as made:
        yield made


@contextmanager
def another(folder: Path, account: str = ACCOUNT) -> Iterator[Claimant]:
    made = Claimant(folder, account)
    try:
        yield made
    finally:
        made.kill()
        for pipe in (made.process.stdin, made.process.stdout):
            assert pipe is not None
            pipe.close()


def test_overlapping_claim_of_another_process_is_refused_by_name_until_it_is_killed(
    claims: LocalClaims, tmp_path: Path
) -> None:
    with another(tmp_path) as second:
        assert second.claim(7, 8) == "claimed"
        claims.claim(scope(9))
        with pytest.raises(ClaimRefused) as refused:
            claims.claim(scope(8, 9))
        text = str(refused.value)
        assert f"Nothing was claimed in account {ACCOUNT}: every symbol, magic 8 is" in text
        host = this_process().host
        assert f"stream 'second.py' (process {second.process.pid} on {host}, since" in text
        claimed = claims.claimed
        assert claimed is not None
        assert (claimed.process, claimed.host) == (os.getpid(), host)
        assert "since 2026-01-05 00:00:00 UTC); end that one, or give" in text
        # What was claimed before stays claimed, and excludes the other.
        assert second.claim(7, 8, 9).startswith("ClaimRefused: ")
        assert second.claim(7).startswith("claimed")
        claims.claim(scope(8, 9))
        assert second.claim(8).startswith("ClaimRefused: ")
        second.kill()
        claims.claim(scope())
        assert len(list(tmp_path.rglob("*.claim"))) == 1


def test_claim_of_a_program_that_only_pauses_stays(claims: LocalClaims, tmp_path: Path) -> None:
    with another(tmp_path) as second:
        assert second.claim() == "claimed"
        with stopped(second.process.pid), pytest.raises(ClaimRefused):
            claims.claim(scope(7))


def test_other_accounts_are_apart(claims: LocalClaims, tmp_path: Path) -> None:
    with another(tmp_path, "5000002@Demo-Server") as second:
        assert second.claim() == "claimed"
        claims.claim(scope())
        # What an object claims next takes the place of what it has, also on another account.
        with pytest.raises(ClaimRefused):
            claims.claim(scope(account="5000002@Demo-Server"))
        claims.claim(scope(account="5000003@Demo-Server"))
        with LocalClaims(lambda: NOW_NS, tmp_path) as third:
            third.claim(scope())


def test_claim_is_as_old_as_its_first_grant_in_the_account(tmp_path: Path) -> None:
    now_ns = NOW_NS
    with LocalClaims(lambda: now_ns, tmp_path) as first, LocalClaims(lambda: 0, tmp_path) as second:

        def since() -> str:
            account = first.claimed.account if first.claimed is not None else ""
            with pytest.raises(ClaimRefused) as refused:
                second.claim(scope(run="run-2", account=account))
            return str(refused.value)

        first.claim(scope(7))
        now_ns += 3_600_000_000_000
        first.claim(scope(7, 8))
        assert "since 2026-01-05 00:00:00 UTC" in since()
        # A claim in another account is a new one.
        first.claim(scope(7, account="6000001@Demo-Server"))
        assert "since 2026-01-05 01:00:00 UTC" in since()


def test_two_in_one_process_exclude_each_other(claims: LocalClaims, tmp_path: Path) -> None:
    claims.claim(scope(7, symbols=("EURUSD",)))
    with LocalClaims(lambda: NOW_NS, tmp_path) as second:
        second.claim(scope(7, symbols=("GBPUSD",), run="run-3"))
        with pytest.raises(ClaimRefused, match="EURUSD, magic 7"):
            second.claim(scope(7, run="run-3"))
        claims.release_claim()
        claims.release_claim()
        assert claims.claimed is None
        second.claim(scope(7, run="run-3"))
        assert second.claimed is not None
        assert second.claimed.symbols == ("*",)


def test_released_claim_leaves_no_file(claims: LocalClaims, tmp_path: Path) -> None:
    for number in range(50):
        claims.claim(scope(number))
        claims.claim(scope(number, number + 1))
        claims.release_claim()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["claims.lock"]


def test_default_folder_is_the_user_s_own_and_not_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOCALAPPDATA", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    with LocalClaims(lambda: NOW_NS) as claims:
        claims.claim(scope())
        folder = data_folder() / "claims" / ACCOUNT
        assert sorted(path.name for path in folder.iterdir()) == ["1.claim", "claims.lock"]


@posix_only
def test_files_are_for_this_user_alone(claims: LocalClaims, tmp_path: Path) -> None:
    claims.claim(scope(7))
    folder = tmp_path / ACCOUNT
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "raw", [b'{"scope": {"run"', b'{"x": ' + b"[" * 100_000], ids=["cut", "nested"]
)
def test_live_claim_that_cannot_be_read_excludes_everybody(
    claims: LocalClaims, tmp_path: Path, raw: bytes
) -> None:
    claims.claim(scope(7))
    (tmp_path / ACCOUNT / "1.claim").write_bytes(raw)
    with LocalClaims(lambda: NOW_NS, tmp_path) as second, pytest.raises(ClaimRefused):
        second.claim(scope(8))


@posix_only
def test_claim_that_cannot_be_written_leaves_the_one_before(
    claims: LocalClaims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims.claim(scope(7))
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, data: len(data) - 1)
        with pytest.raises(NotSent, match="the disk is full"):
            claims.claim(scope(7, 8))
    assert claims.claimed is not None
    assert claims.claimed.magics == (7,)
    with LocalClaims(lambda: NOW_NS, tmp_path) as second:
        second.claim(scope(8))
        with pytest.raises(ClaimRefused):
            second.claim(scope(7, 8))


def test_folder_that_stays_locked_is_an_error_after_a_while(
    claims: LocalClaims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims.claim(scope(7))
    monkeypatch.setattr(local_claims, "PAUSE_SEC", 0.0)
    other = LockableFile(tmp_path / ACCOUNT / "claims.lock")
    other.lock()
    try:
        with pytest.raises(NotSent, match="another program has had"):
            claims.claim(scope(8))
    finally:
        other.release()
    claims.claim(scope(8))


@needs_fork
def test_forked_process_holds_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from trueup.core.scope import Scope
from trueup.gateway.record.local_claims import LocalClaims
claims = LocalClaims(lambda: 1, Path(sys.argv[1]))
wanted = Scope("run-2", "parent.py", account=sys.argv[2])
claims.claim(wanted)

def child():
    say("child", claims.claimed)
    claims.release_claim()
    say(refusal(lambda: claims.claim(wanted)))
    time.sleep(60)

fork(child)
time.sleep(60)
"""
    with program(code, tmp_path, ACCOUNT, cwd=tmp_path) as parent:
        assert parent.line() == "child None"
        assert parent.line().startswith("ClaimRefused: ")
        parent.kill()
        # The child lives on, and keeps nobody out.
        with LocalClaims(lambda: NOW_NS, tmp_path) as claims:
            claims.claim(scope())


def test_threads_that_claim_at_once_never_both_get_what_overlaps(tmp_path: Path) -> None:
    start, granted = threading.Barrier(8), []
    made = [LocalClaims(lambda: NOW_NS, tmp_path) for _ in range(8)]

    def claim(claims: LocalClaims) -> None:
        start.wait(DEADLINE_SEC)
        try:
            claims.claim(scope(7))
        except ClaimRefused:
            return
        granted.append(claims)

    threads = [threading.Thread(target=claim, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SEC)
    assert len(granted) == 1
    granted[0].release_claim()


MAGICS = st.sets(st.integers(1, 4), max_size=3)
SYMBOLS = st.sets(st.sampled_from("ABC"), max_size=2)


STEPS = st.lists(
    # Which of three programs; None to release, else what to claim.
    st.tuples(st.integers(0, 2), st.one_of(st.none(), st.tuples(MAGICS, SYMBOLS))),
    max_size=15,
)


@given(STEPS)
@settings(max_examples=50)
def test_granted_claims_never_overlap(
    steps: list[tuple[int, tuple[set[int], set[str]] | None]],
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as ends:
        made = [LocalClaims(lambda: NOW_NS, Path(folder)) for _ in range(3)]
        for one in made:
            ends.callback(one.release_claim)
        for number, wish in steps:
            if wish is None:
                made[number].release_claim()
            else:
                wanted = scope(*wish[0], symbols=tuple(wish[1]), run=f"run-{number}")
                claimed_if_free(made[number], wanted, others_of(made, made[number]))
            for one in made:
                held = one.claimed
                assert held is None or why_taken(held, others_of(made, one)) == ""


def others_of(made: list[LocalClaims], own: LocalClaims) -> list[WriterClaim]:
    found = (one.claimed for one in made if one is not own)
    return [WriterClaim(held) for held in found if held is not None]


def claimed_if_free(claims: LocalClaims, wanted: Scope, others: list[WriterClaim]) -> None:
    before, is_free = claims.claimed, why_taken(claimable(wanted), others) == ""
    try:
        claims.claim(wanted)
        assert is_free
    except ClaimRefused:
        assert not is_free
        assert claims.claimed == before
