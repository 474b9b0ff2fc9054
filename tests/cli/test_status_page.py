"""docs/reference/status-json.md has every field of the status, and says what it means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from scripts.status_page import fields, status_page
from trueup.observe.status import status as module

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/status-json.md"
STRUCTS = [
    one
    for one in vars(module).values()
    if isinstance(one, type) and issubclass(one, msgspec.Struct) and one is not msgspec.Struct
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_the_page_has_every_field_with_its_meaning(struct: type[msgspec.Struct]) -> None:
    section = PAGE.read_text("utf-8").partition(f"## {struct.__name__}\n")[2].partition("\n## ")[0]
    told = {name: text for name, _, text in fields(struct)}
    assert list(told) == list(struct.__struct_fields__)
    for name, text in told.items():
        assert f"| `{name}` | " in section
        assert text.endswith(".")


def test_the_page_is_the_one_that_make_docs_writes() -> None:
    assert PAGE.read_text("utf-8") == status_page()
