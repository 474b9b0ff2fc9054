"""Print the lock as a Windows CPython under Wine needs it: `windows_lock.py MINOR`, such as 3.11.

pip decides by the markers of the system it runs on, so they are decided here, and left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pip._vendor.packaging.markers import Marker

LOCK = Path(__file__).parents[2] / "requirements.lock"

# Tools that no test runs on Windows (they check the same files on Linux), and what they need.
TOOLS = frozenset({"ruff", "mypy", "librt", "ast-serialize", "grimp", "import-linter"})
# numpy 2 calls `crealf`, a function of C that Wine 8 lacks. The MetaTrader5 module takes either, so
# this is the last numpy 1, which has no build for 3.13: numpy and the module are left out there.
NUMPY = {
    "3.11": "numpy==1.26.4 "
    "--hash=sha256:cd25bcecc4974d09257ffcd1f098ee778f7834c3ad767fe5db785be9a4aa9cb2",
    "3.12": "numpy==1.26.4 "
    "--hash=sha256:08beddf13648eb95f8d867350f6a018a4be2e5ad54c8d8caed89ebca558b2818",
}


def wanted(block: str, environment: dict[str, str]) -> bool:
    """Return whether a block of the lock names a package that is installed."""
    head = block.partition("\\\n")[0].strip()
    name, _, marker = head.partition(" ; ")
    package = name.partition("==")[0].lower()
    if not re.match(r"\w", block) or package in TOOLS | {"numpy"}:
        return False
    if package == "metatrader5" and environment["python_version"] not in NUMPY:
        return False
    return not marker or Marker(marker).evaluate(environment)


def windows_lock(lock: str, minor: str) -> list[str]:
    """Return the lines of a requirements file for Windows, each with its hashes."""
    environment = {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_version": minor,
        "python_full_version": f"{minor}.9",
    }
    lines = [NUMPY[minor]] if minor in NUMPY else []
    for block in re.split(r"(?m)^(?=\S)", lock):
        if wanted(block, environment):
            requirement = re.split(r" ; |\\", block)[0].strip()
            lines.append(" ".join([requirement, *re.findall(r"--hash=\S+", block)]))
    return lines


if __name__ == "__main__":
    print("\n".join(windows_lock(LOCK.read_text(encoding="utf-8"), sys.argv[1])))
