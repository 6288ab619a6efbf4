"""Options of the fault tests."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--faults=N` and `--faults-record=FILE`."""
    parser.addoption("--faults", type=int, default=30, help="how many random faults to do (30)")
    parser.addoption("--faults-record", type=Path, default=None, help="JSON file for what was done and seen")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> int:
    """The number of faults to do."""
    number: int = request.config.getoption("--faults")
    return number


@pytest.fixture
def faults_record(request: pytest.FixtureRequest) -> Path | None:
    """The file for the record; None for none."""
    file: Path | None = request.config.getoption("--faults-record")
    return None if file is None else file.absolute()
