"""The rows behave as the official module's named tuples do (MT5 reference, named tuples)."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from trueup.gateway.terminal import terminal_rows
from trueup.sim.market import structs
from trueup.sim.market.structs import (
    OrderSendResult,
    StructSequence,
    Tick,
    TradePosition,
    TradeRequest,
)

FACTS = json.loads((Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8"))
NAMES = sorted(FACTS["namedtuples"])


def row_type(name: str) -> type[StructSequence]:
    found: type[StructSequence] = getattr(structs, name)
    assert issubclass(found, StructSequence)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_the_official_ones_in_order(name: str) -> None:
    kind, fields = row_type(name), FACTS["namedtuples"][name]
    assert list(kind.__match_args__) == fields
    assert kind.n_fields == kind.n_sequence_fields == len(fields)


@pytest.mark.parametrize("name", NAMES)
def test_field_types_are_the_official_ones(name: str) -> None:
    official = {
        field: kind.partition(" ")[0]
        for field, kind in FACTS["namedtuple_field_types"][name].items()
    }
    assert row_type(name).__annotations__ == official


def test_there_are_eleven_types() -> None:
    assert len(NAMES) == 11


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"BookInfo"}))
def test_gateway_protocol_names_only_official_fields(name: str) -> None:
    protocol = getattr(terminal_rows, name)
    declared = [field for field, value in vars(protocol).items() if isinstance(value, property)]
    official = FACTS["namedtuples"][name]
    # The official row of a symbol has 96 fields; a gateway reads some.
    assert set(declared) <= set(official) if name == "SymbolInfo" else declared == official


def test_a_row_is_a_tuple_read_by_name_and_index() -> None:
    tick = Tick([1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0])
    assert isinstance(tick, tuple)
    assert tick.bid == tick[1] == 1.1
    assert tick == (1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0)
    assert repr(tick).startswith("Tick(time=1, bid=1.1, ask=1.2")


def test_a_row_is_immutable() -> None:
    tick = Tick(range(8))
    with pytest.raises(AttributeError):
        tick.bid = 2.0
    with pytest.raises(AttributeError):
        tick.unknown = 2.0  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        tick[0] = 1  # type: ignore[index]


def test_a_row_has_no_fields_and_no_replace_and_takes_one_iterable() -> None:
    assert not hasattr(Tick, "_fields")
    assert not hasattr(Tick, "_replace")
    with pytest.raises(TypeError):
        Tick(*range(8))
    with pytest.raises(TypeError, match="takes a 8-sequence"):
        Tick(range(7))
    with pytest.raises(TypeError, match="requires a sequence"):
        Tick(7)  # type: ignore[arg-type]


def test_asdict_leaves_a_nested_request_as_it_is() -> None:
    request = TradeRequest([0] * TradeRequest.n_fields)
    result = OrderSendResult([10009, 1, 2, 0.1, 1.1, 1.1, 1.2, "", 1, 0, request])
    assert result._asdict()["request"] is request
    assert list(result._asdict()) == FACTS["namedtuples"]["OrderSendResult"]


def test_a_row_is_not_picklable_but_can_be_copied() -> None:
    tick = Tick(range(8))
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(tick)
    assert copy.copy(tick) == tick
    assert type(copy.deepcopy(tick)) is Tick


def test_a_position_has_no_commission() -> None:
    """Position rows carry neither commission nor margin; profit excludes swap."""
    assert "commission" not in TradePosition.__match_args__
    assert "margin" not in TradePosition.__match_args__
