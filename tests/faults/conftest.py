"""How many faults are done."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--faults=N`."""
    parser.addoption("--faults", type=int, default=30, help="how many random faults to do (30)")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> int:
    """How many faults to do."""
    number: int = request.config.getoption("--faults")
    return number
