"""No bytes from outside crash, hang or change anything: thousands here, a million in a soak.

Most are drawn from seeds: the work of Hypothesis costs ten times what a decoder does. A find names
the input. Hypothesis draws some too, because it shrinks what it finds and keeps it for the next
run.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.mutation import EDITS, Edit, drawn, edited
from tests.fuzz.soaking import feed, path_of, soak

INPUTS_IN_A_SOAK = 1_000_000
INPUTS = 300
# Each of these is judged by all of the conformance, twice.
FEWER_INPUTS = {"strangers' replies": 100}
# Each writes files, or has much to do with an input: hundreds in a second, and not ten thousands.
SLOW = {
    "terminal rows": 40_000,
    "settings": 20_000,
    "price files": 60_000,
    "state files": 20_000,
    "lock notes": 20_000,
    "allowed keys": 20_000,
    "key files": 20_000,
    "record of requests": 20_000,
    "strangers' replies": 20_000,
    "greetings": 20_000,
    "bot answers": 20_000,
    "snapshots": 80_000,
    "requests": 100_000,
    "commands": 60_000,
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Ten thousand wrong inputs log ten thousand sentences, which the test would keep."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Decoder]:
    """Every decoder, with a folder of its own."""
    return {name: make(tmp_path_factory.mktemp("fuzz")) for name, make in DECODERS.items()}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_takes_its_own_messages(name: str, decoders: dict[str, Decoder]) -> None:
    for message in decoders[name].messages:
        decoders[name].feed(message)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.integers(0, 10_000), edits=EDITS)
@example(choice=0, edits=[Edit("insert", 0.0, b"[" * 3_000, 1)])
@example(choice=0, edits=[Edit("value", 0.0, b"1" * 400, 1)])
def test_an_edited_message_is_read_or_named(
    name: str, choice: int, edits: list[Edit], decoders: dict[str, Decoder]
) -> None:
    decoder = decoders[name]
    decoder.feed(edited(decoder.messages[choice % len(decoder.messages)], edits))


# The same inputs in every run: new ones are what a soak is for.
@pytest.mark.parametrize("name", DECODERS)
def test_drawn_inputs_are_read_or_named(name: str, decoders: dict[str, Decoder]) -> None:
    chance = random.Random(name)
    for _ in range(FEWER_INPUTS.get(name, INPUTS)):
        feed(decoders[name], drawn(chance, decoders[name].messages))


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=300))
def test_raw_bytes_are_read_or_named(name: str, raw: bytes, decoders: dict[str, Decoder]) -> None:
    decoders[name].feed(raw)


# A soak has no limit of its own, and an input on which a decoder hangs is to end this.
@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("name", DECODERS)
def test_a_million_inputs_are_read_or_named_and_none_is_kept(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    seed = secrets.randbits(32)
    record_property(f"seed of {name}", seed)
    each = (INPUTS_IN_A_SOAK - sum(SLOW.values())) // (len(DECODERS) - len(SLOW)) + 1
    soak(path_of(DECODERS[name]), seed, SLOW.get(name, each))
