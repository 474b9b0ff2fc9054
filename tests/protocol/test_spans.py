"""A span of the trade server's clock has its first millisecond and not its last."""

from __future__ import annotations

import pytest

from trueup.protocol.history import Span


@pytest.mark.parametrize(
    ("time_msc", "is_in"), [(999, False), (1_000, True), (1_999, True), (2_000, False)]
)
def test_a_span_begins_with_its_first_millisecond_and_ends_before_its_last(
    time_msc: int, is_in: bool
) -> None:
    assert Span(1_000, 2_000).has(time_msc) is is_in


def test_a_span_without_an_end_has_all_that_follows() -> None:
    assert Span(1_000).has(10**15)
