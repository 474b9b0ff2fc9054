"""What every test gets: Hypothesis profiles, `--mt5`, Windows, and fresh seeds that are told."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.windows.wine import is_wine, reason_to_fail

settings.register_profile("ci", deadline=None, max_examples=100)
settings.register_profile(
    "soak", deadline=None, max_examples=20_000, suppress_health_check=[HealthCheck.too_slow]
)
# Each mutant runs every test that reaches it; what examples find, the unit tests find too.
settings.register_profile("mutation", deadline=None, max_examples=10, derandomize=True)
# `scripts/windows/tier.sh` says why.
settings.register_profile("windows", deadline=None, max_examples=15)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mt5",
        action="store_true",
        help="run the terminal's contract against the MetaTrader 5 demo account of this machine",
    )
    parser.addoption(
        "--wine", action="store_true", help="run tests/wine with the Windows CPython under Wine"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    under_wine, has_wine = is_wine(), config.getoption("--wine")
    for item in items:
        if item.get_closest_marker("mt5") and not config.getoption("--mt5"):
            item.add_marker(pytest.mark.skip(reason="needs --mt5 and a demo account"))
        if item.nodeid.startswith("tests/wine/") and not has_wine:
            item.add_marker(pytest.mark.skip(reason="needs Wine: `make windows`"))
        differs = reason_to_fail(item.nodeid) if under_wine else None
        if differs is not None:
            item.add_marker(pytest.mark.xfail(reason=f"Wine: {differs}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seeds that no one chose: a process that shares the tests prints nothing itself."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    terminalreporter.write_line(f"{name}: {value}")
