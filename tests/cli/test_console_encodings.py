"""Commands on a console that lacks characters: Windows's code pages have no arrow and no tick.

Each runs as a process whose console is of code page 1252 or of pure ASCII, strictly: one character
too many would end it with a traceback, in the middle of what it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support import GuideGateway, listing, row
from tests.paper.deadline import ROOT, wait_for
from tests.paper.test_paper_processes import Shell

CONSOLES = ["cp1252", "ascii"]
# Exit code 1 is an answer too: the doctor's where something is sick.
ANSWERS = (0, 1)
