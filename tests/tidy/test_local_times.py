"""No part of the package uses the zone of its machine, except where a person types a time.

The machines of tests have the zone UTC, in which such a mistake shows the right time. Times without
a zone are found by ruff.
"""

from __future__ import annotations

import re

import pytest

from tests.tidy.test_no_circles import PACKAGE

LOCAL = re.compile(r"\.astimezone\(\)|\btime\.(?:localtime|ctime|mktime|asctime|strftime)\(")
# A time that a person types without a zone is of their own clock.
TYPED = ["runtime/time/moments.py"]


def test_no_module_uses_the_zone_of_its_machine() -> None:
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if LOCAL.search(path.read_text(encoding="utf-8"))
    ]
    assert found == TYPED


@pytest.mark.parametrize(
    "text", ["moment.astimezone()", "time.localtime(5)", "time.strftime('%H')"]
)
def test_what_uses_it_is_found(text: str) -> None:
    assert LOCAL.search(text)
    assert not LOCAL.search("moment.astimezone(dt.UTC)")
