"""`trueup keys`: create and show the key pairs of gateways and bots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.errors import KeysError
from trueup.gateway.access.keys import MODES_ARE_CHECKED, default_folder, new_keys, read_public_key

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Create and show the keys of gateways and bots.",
)

FolderOption = Annotated[
    str,
    typer.Option("--dir", metavar="FOLDER", help="Where the files are; ~/.trueup/keys otherwise."),
]


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The owner of the keys, such as gateway or bot1.")],
    folder: FolderOption = "",
) -> None:
    """Create a key pair, NAME.key and NAME.key_secret.

    NAME.key is for others; NAME.key_secret stays with you. Existing files are never overwritten.
    The secret key is written to its file and nowhere else.
    """
    # Absolute, since the printed lines are copied into settings of other folders.
    files = new_keys(_folder(folder).resolve(), name)
    # Windows has no file modes to check, so the user is asked to keep the folder private.
    kept = "readable by you alone" if MODES_ARE_CHECKED else "keep the folder private"
    say(
        f"Public key  {files.public}\n"
        f"            {files.public_file}\n"
        f"Secret key  {files.secret_file} ({kept}; it never leaves this machine)\n"
        "\n"
        f"If {name} is a bot: a line in the gateway's --allow file, and a setting of the bot.\n"
        f"    {name}  trade  *  {files.public}\n"
        f"    GTW_KEY_FILE={files.secret_file}\n"
        f"If {name} is a gateway: an option of the gateway, and a setting of each bot.\n"
        f"    trueup gateway --key {files.secret_file}\n"
        f"    GTW_SERVER_KEY='{files.public}'"
    )


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The pair's name, or the path of a key file.")],
    folder: FolderOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the public key of a pair."""
    file = _file(name, _folder(folder))
    key = read_public_key(file)
    print_document("keys show", {"public_key": key, "file": str(file)}) if as_json else say(key)


def _folder(folder: str) -> Path:
    return Path(folder).expanduser() if folder else default_folder()


def _file(name: str, folder: Path) -> Path:
    """Return the key file of a name or a path."""
    places = (Path(name).expanduser(), folder / f"{name}.key", folder / f"{name}.key_secret")
    for path in places:
        if path.is_file():
            return path
    raise KeysError(f"There is no key {name} in {folder}: `trueup keys new {name}` makes it.")
