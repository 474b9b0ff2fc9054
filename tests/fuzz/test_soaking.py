"""What a soak is to find, it finds: a decoder that fails, and one that keeps what it was fed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.decoders import Hints
from tests.fuzz.soaking import path_of, soak

INPUTS = 5_000


class Keeping:
    """A decoder that keeps everything."""

    def __init__(self, folder: Path) -> None:
        self.messages = [b"0123456789" * 1_000]
        self._kept: list[bytes] = []

    def feed(self, raw: bytes) -> None:
        self._kept.append(raw)


class Failing:
    """A decoder that cannot read all numbers."""

    def __init__(self, folder: Path) -> None:
        self.messages = [b"7"]

    def feed(self, raw: bytes) -> None:
        int(raw)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say to Python what it has")
def test_a_decoder_that_keeps_everything_is_caught_whatever_ran_before() -> None:
    # The most that this process ever had, and with it that of a new one, is now far above.
    bytearray(300 << 20)
    with pytest.raises(AssertionError, match="memory grew by"):
        soak(path_of(Keeping), seed=7, count=INPUTS)


def test_a_decoder_that_keeps_nothing_is_not() -> None:
    soak(path_of(Hints), seed=7, count=INPUTS)


def test_an_input_that_is_neither_read_nor_named_is_told() -> None:
    with pytest.raises(AssertionError, match=r"(?s)Failing 7 100\n.*ValueError.*\nfed: b'"):
        soak(path_of(Failing), seed=7, count=100)
