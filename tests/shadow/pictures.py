"""Make the pictures of docs/operating/shadow.md: `python -m tests.shadow.pictures [FOLDER]`.

Somebody looks at each after it was made. The day of the tests is played, with its processes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.page.browser import DESK, PHONE, browsing
from tests.paper.deadline import ROOT
from tests.shadow.scene import Scene, day

PLACE = ROOT / "docs" / "operating" / "shadow"


def main(place: Path) -> None:
    """Write all pictures into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browsing() as browser:
        scene = Scene(Path(name))
        try:
            scene.begin()
            day(scene)
            address = (scene.folder / "report.html").as_uri()
            for what, size, scheme in (("phone", PHONE, "light"), ("desk", DESK, "dark")):
                context = browser.new_context(
                    viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
                )
                window = context.new_page()
                window.goto(address)
                window.screenshot(path=place / f"report-{what}-{scheme}.png")
                context.close()
        finally:
            scene.clean()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE)
