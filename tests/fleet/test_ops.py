"""The examples that start nodes: systemd and Kubernetes."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from typer.testing import CliRunner

from trueup.cli import app

OPS = Path(__file__).resolve().parents[2] / "ops"


def manifest() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((OPS / "trueup-fleet.yaml").read_text("utf-8"))
    return made


def container() -> dict[str, Any]:
    (found,) = manifest()["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((OPS / "trueup-node.service").read_text("utf-8"))
    return parser


def test_manifest_has_the_schema_of_kubernetes() -> None:
    kubernetes_validate.validate(manifest(), "1.30", strict=True)
    wrong = manifest()
    wrong["spec"]["replica"] = wrong["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.30", strict=True)


@pytest.mark.parametrize(
    "words",
    [container()["command"], shlex.split(unit()["Service"]["ExecStart"])],
    ids=["kubernetes", "systemd"],
)
def test_command_is_one_that_trueup_takes(words: list[str], tmp_path: Path) -> None:
    program, *options = words
    assert program.rpartition("/")[2] == "trueup"
    # All options are known, and then the file is missed. The journal is in the environment there.
    environment = {"TRUEUP_JOURNAL": "postgresql://127.0.0.1/trueup"}
    done = CliRunner().invoke(app, options, env=environment)
    assert done.exit_code == 64
    assert "accounts.toml' is not valid: give the path of a TOML file with accounts" in done.output


def test_nodes_have_time_to_give_their_accounts_back() -> None:
    assert manifest()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    assert int(unit()["Service"]["TimeoutStopSec"]) >= 60
    names = {one["name"] for one in container()["env"]}
    assert "TRUEUP_JOURNAL" in names
