"""Install this checkout, editable, into the Windows CPython of a folder: `... FOLDER`.

pip cannot: it would write what Linux needs. So here is what it writes on Windows: a path, a name
with its version, and each command as a launcher of Windows (pip's own) with a line and a zip.
"""

from __future__ import annotations

import io
import sys
import tomllib
import zipfile
from pathlib import Path

from pip._vendor import distlib

CHECKOUT = Path(__file__).resolve().parents[2]


def dos(path: Path) -> str:
    """Return a path of Linux as programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")


def launcher(python: Path, entry: str) -> bytes:
    """Return a program of Windows that calls an entry point such as `trueup.cli:app`."""
    module, _, function = entry.partition(":")
    main = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", main)
    program = Path(distlib.__file__).with_name("t64.exe").read_bytes()
    return program + f"#!{dos(python)}\r\n".encode() + archive.getvalue()


def install(python: Path) -> None:
    """Write the files, beside a `python.exe`."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    name, version, commands = project["name"], project["version"], project["scripts"]
    packages, scripts = python.parent / "Lib" / "site-packages", python.parent / "Scripts"
    (packages / f"{name}.pth").write_text(dos(CHECKOUT / "src") + "\n", encoding="utf-8")
    facts = packages / f"{name}-{version}.dist-info"
    facts.mkdir(exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (facts / "METADATA").write_text(head, encoding="utf-8")
    entries = "".join(f"{command} = {entry}\n" for command, entry in commands.items())
    (facts / "entry_points.txt").write_text(f"[console_scripts]\n{entries}", encoding="utf-8")
    scripts.mkdir(exist_ok=True)
    for command, entry in commands.items():
        (scripts / f"{command}.exe").write_bytes(launcher(python, entry))


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve() / "python.exe")
