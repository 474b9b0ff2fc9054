"""The comparison of our facts with the module that its publishers ship, on wheels made here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from scripts.check_mt5_module import FACTS, main


def make_wheel(path: Path, source: str, compiled: bytes = b"", suffix: str = "py") -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"MetaTrader5/__init__.{suffix}", source)
        if compiled:
            archive.writestr("MetaTrader5/_core.pyd", compiled)
    return str(path)


SOURCE = "\n".join(f"{name}={value}" for name, value in FACTS["constants"].items())
NAMES = [*FACTS["functions"], *(name for row in FACTS["namedtuples"].values() for name in row)]
COMPILED = b"\0".join(name.encode() for name in NAMES) + b"\0"


def test_the_module_as_we_know_it_differs_in_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCE.replace("TIMEFRAME_H1=16385", "TIMEFRAME_H1=1|0x4000")
    assert source != SOURCE
    assert main([make_wheel(tmp_path / "a.whl", source, COMPILED)]) == 0
    assert capsys.readouterr().out == "1 compared, 0 differences.\n"


@pytest.mark.parametrize(
    ("source", "compiled", "said"),
    [
        (
            SOURCE.replace("TRADE_ACTION_DEAL=1", "TRADE_ACTION_DEAL=2"),
            COMPILED,
            "constant TRADE_ACTION_DEAL is 2 there, and 1 here",
        ),
        (SOURCE + "\nNEW_THING=7", COMPILED, "constant NEW_THING = 7 is there, and not here"),
        (
            SOURCE,
            COMPILED.replace(b"order_send\0", b"order_sent\0"),
            "function order_send is not there",
        ),
        (
            SOURCE,
            COMPILED.replace(b"price_stoplimit\0", b"x\0"),
            "field price_stoplimit of TradeOrder is not there",
        ),
        (
            SOURCE + "\nclass Tick:\n    bid: float\n    time: int",
            COMPILED,
            "Tick has the fields ['bid', 'time'] there",
        ),
    ],
)
def test_what_a_newer_module_has_otherwise_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    compiled: bytes,
    said: str,
) -> None:
    assert main([make_wheel(tmp_path / "a.whl", source, compiled, "pyi")]) == 1
    assert said in capsys.readouterr().out


def test_without_a_wheel_it_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "pip download MetaTrader5" in capsys.readouterr().out
