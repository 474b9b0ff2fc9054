"""The tests' modules with pytest's asserts, made once where processes share the tests.

In a fresh clone it takes 14 s of CPU, and each process would do all of it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def rewrite_missing(config: pytest.Config, number: int) -> list[Path]:
    """Write the compiled modules that are missing, while other processes do the same.

    Each process has an order of its own, so that two seldom compile one module. A process is done
    when each module is there, whoever wrote it: nobody waits.

    Args:
        config: with `args`, the files and folders that will be collected.
        number: of the process, which gives the order.

    Returns:
        The compiled files that this process has written.
    """
    if sys.dont_write_bytecode:
        return []
    modules = sorted(_modules(config))
    random.Random(number).shuffle(modules)
    written = []
    for module in modules:
        folder = rewrite.get_cache_dir(module)
        compiled = folder / f"{module.stem}{rewrite.PYC_TAIL}"
        if compiled.exists() or not rewrite.try_makedirs(folder):
            continue
        source_hash, code = rewrite._rewrite_test(module, config)
        if rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, compiled):
            written.append(compiled)
    return written


def _modules(config: pytest.Config) -> set[Path]:
    """Return the test modules that `config.args` names, by itself or by its folder."""
    modules: set[Path] = set()
    for arg in config.args:
        place = config.invocation_params.dir / arg.partition("::")[0]
        modules.update(place.rglob("test_*.py") if place.is_dir() else {place})
    return {module for module in modules if module.is_file()}
