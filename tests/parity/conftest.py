"""The measure of all comparisons, and a table of what they saw at the end of the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

SEEN = pytest.StashKey[dict[str, dict[str, float]]]()


def relative_difference(ours: Any, theirs: Any) -> float:
    """max |ours - theirs| / max |theirs| over a leaf.

    By leaf, not by element: an element that is small by cancellation carries the rounding of the large ones it came
    from. Nor over all leaves at once: a small leaf that is wrong, such as one BN's bias, must not hide behind a
    large one.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape, f"ours {a.shape}, theirs {b.shape}"
    scale = np.abs(b).max()
    assert 0.0 < scale < np.inf, "nothing to compare: the leaf is zero or not finite"
    return float(np.abs(a - b).max() / scale)  # NaN where ours has one, which is below no tolerance


class Comparison:
    """Compares, and remembers the worst difference of each kind in this test."""

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}

    def check(self, kind: str, ours: Any, theirs: Any, tolerance: float) -> None:
        """Two arrays, or two dictionaries of them, which must have the same names."""
        if not isinstance(ours, Mapping):
            ours, theirs = {"": ours}, {"": theirs}
        assert set(ours) == set(theirs), f"{kind}: names differ: {sorted(set(ours) ^ set(theirs))}"
        differences = {name: relative_difference(ours[name], theirs[name]) for name in ours}
        self.worst[kind] = max(self.worst.get(kind, 0.0), *differences.values())
        wrong = {name: d for name, d in differences.items() if not d <= tolerance}
        assert not wrong, f"{kind}: {len(wrong)} of {len(ours)} above {tolerance:g}, such as {list(wrong.items())[:3]}"


@pytest.fixture
def comparison(request: pytest.FixtureRequest) -> Comparison:
    """A Comparison whose worst differences are told at the end of the run."""
    result = Comparison()
    request.config.stash.setdefault(SEEN, {})[request.node.name] = result.worst
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    seen = config.stash.get(SEEN, {})
    if not seen:
        return
    terminalreporter.section("worst relative difference from PyTorch, per leaf")
    for test, worst in seen.items():
        terminalreporter.write_line(test)
        terminalreporter.write_line("    " + ", ".join(f"{kind} {d:.1e}" for kind, d in worst.items()))
