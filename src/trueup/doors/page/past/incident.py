"""Write everything about an incident into one file, for somebody who was not there."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import msgspec

from trueup.core.dates import iso
from trueup.doors.page.past.story import Scenes, Search, newest
from trueup.doors.page.screens import HERE, render
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import COLUMNS
from trueup.observe.status.status import Status
from trueup.runtime.time.clock import SystemClock

ROWS = 1_000


def incident(
    reader: JournalReader, scenes: Scenes, status: Status, values: Mapping[str, Any]
) -> bytes:
    """Return a ZIP file: a page to read, and the same facts for a program.

    `incident.html` needs no other file. `status.json` is the status, `moment.json` both books by
    the journal, and `story.csv` the last thousand events.
    """
    now_ns = SystemClock().now_ns()
    scene = scenes.at_moment(reader, now_ns)
    found = newest(reader, Search(), ROWS)
    story = io.StringIO()
    writer = csv.writer(story, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(msgspec.structs.astuple, found.rows))
    style = (HERE / "static" / "page.css").read_text(encoding="utf-8")
    facts = {**values, "scene": scene, "found": found, "style": style, "made": iso(now_ns)}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("incident.html", render("incident", facts))
        file.writestr("status.json", _json(status))
        file.writestr("moment.json", _json(scene))
        file.writestr("story.csv", story.getvalue())
    return made.getvalue()


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
