"""The values of limits: each wrong one is refused with its name, its value and what is valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trueup
from trueup.core.limits.limits import LimitError, Limits, limits_from
from trueup.errors import SettingsError
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.limits.setting import limits_setting


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lots": 0}, "lots=0 is not valid: give lots above 0, or leave the limit out."),
        ({"lots": True}, "lots=True is not valid"),
        ({"lots": "1"}, "lots='1' is not valid"),
        ({"lots_per_symbol": -1}, "lots_per_symbol=-1 is not valid"),
        ({"lots_per_symbol": {"EURUSD": 0}}, "lots_per_symbol['EURUSD']=0 is not valid"),
        ({"lots_per_symbol": {}}, "lots_per_symbol={} is not valid: give lots by symbol"),
        ({"lots_per_symbol": {"EURUSD": None}}, "give names of symbols, as {'EURUSD': 1.0}"),
        ({"positions": 0}, "positions=0 is not valid: give a whole number, 1 or above."),
        ({"positions": 1.5}, "positions=1.5 is not valid"),
        ({"daily_loss": float("nan")}, "daily_loss=nan is not valid: give money above 0"),
        ({"daily_loss": float("inf")}, "daily_loss=inf is not valid"),
        ({"daily_loss_percent": 101}, "daily_loss_percent=101 is not valid: give a percentage"),
        (
            {"daily_loss_basis": "margin"},
            "daily_loss_basis='margin' is not valid: give 'equity' or",
        ),
        ({"drawdown_percent": -3}, "drawdown_percent=-3 is not valid"),
        ({"reset_hour": 24}, "reset_hour=24 is not valid: give an hour from 0 to 23."),
        ({"reset_zone": "CET+1"}, "reset_zone='CET+1' is not valid: give an IANA zone"),
        ({"reset_zone": "America"}, "reset_zone='America' is not valid"),
        ({"hours_zone": "../UTC"}, "hours_zone='../UTC' is not valid"),
        ({"spread": 0}, "spread=0 is not valid: give points above 0"),
        ({"hours": {}}, "hours={} is not valid: give weekdays and windows"),
        ({"hours": {"monday": "8:00-9:00"}}, "hours='monday' is not valid: the weekdays are mon"),
        ({"hours": {"mon": "17:00-08:00"}}, "hours['mon']='17:00-08:00' is not valid: give HH:MM"),
        ({"hours": {"mon": "08:00-24:30"}}, "hours['mon']='08:00-24:30' is not valid"),
        ({"dayly_loss": 5}, "dayly_loss=5 is not valid: did you mean daily_loss? the limits are"),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(LimitError) as refused:
        limits_from(given)
    assert said in str(refused.value)


def test_limits_are_off_until_one_is_set() -> None:
    assert Limits().is_off
    assert Limits(reset_hour=7, reset_zone="Europe/Prague").is_off
    assert not Limits(spread=20).is_off
    assert Limits(lots_per_symbol={"EURUSD": 1, "*": 0.5}).lots_in("GBPUSD") == 0.5
    assert Limits(lots_per_symbol={"EURUSD": 1}).lots_in("GBPUSD") is None
    assert trueup.Limits is Limits
    # A table that its owner changes later changes no limit.
    table = {"EURUSD": 1.0}
    limits = Limits(lots_per_symbol=table)
    table["EURUSD"] = 100.0
    assert limits == Limits(lots_per_symbol={"EURUSD": 1.0})


def test_limits_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert limits_setting().is_off
    toml = tmp_path / "trueup.toml"
    toml.write_text(
        'sync_interval_sec = 5\n[limits]\ndaily_loss = 100\nhours = {mon = "8:00-9:00"}'
    )
    assert limits_setting() == Limits(daily_loss=100, hours={"mon": "8:00-9:00"})
    # The order desk of every book has them; limits in the code replace them.
    assert PortfolioManager().limits.daily_loss == 100
    assert PortfolioManager(limits=Limits()).limits.is_off
    (tmp_path / "mine.toml").write_text("lots = 2")
    monkeypatch.setenv("TRUEUP_LIMITS", "mine.toml")
    assert limits_setting() == Limits(lots=2)
    monkeypatch.setenv("TRUEUP_LIMITS", "none.toml")
    with pytest.raises(
        SettingsError, match=r"TRUEUP_LIMITS='none.toml' is not valid: give the path"
    ):
        limits_setting()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits = 5", "limits='5' is not valid"),
        ("[limits]\nlots = 0", "lots in trueup.toml='0' is not valid: give lots above 0"),
        ("[limits]\nlot = 1", "lot in trueup.toml='1' is not valid: did you mean lots?"),
        ("[limits\n", "trueup.toml="),
    ],
)
def test_a_wrong_file_opens_no_journal(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trueup.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        PortfolioManager(journal="bot.db")
    assert said in str(refused.value)
    assert not (tmp_path / "bot.db").exists()
