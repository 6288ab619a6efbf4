"""How often the kill test kills."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kills=N`."""
    parser.addoption("--kills", type=int, default=10, help="how often to kill each run (10)")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill."""
    number: int = request.config.getoption("--kills")
    return number
