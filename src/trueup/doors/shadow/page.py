"""Write the report of a watch as one HTML file, which needs no other file and no script."""

from __future__ import annotations

from trueup.doors.page.screens import HERE, render
from trueup.observe.shadow.report import ShadowReport
from trueup.observe.shadow.sentences import time_words
from trueup.observe.shadow.text import facts, headline, span_words, where_words


def page_of(report: ShadowReport, made_ns: int) -> str:
    """Return the report as HTML; `made_ns` is the date (ns of UTC)."""
    style = (HERE / "static" / "page.css").read_text(encoding="utf-8")
    return render(
        "shadow",
        {
            "r": report,
            "headline": headline(report),
            "facts": facts(report),
            "made": time_words(made_ns),
            "span": span_words,
            "where": where_words,
            "style": style,
        },
    )
