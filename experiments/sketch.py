"""A small plot of a quantity over the steps of a run, in the characters that every terminal has."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 60, 8


def positions(steps: int) -> list[int]:
    """The numbers of the steps that the columns of a plot stand for: evenly from 0 to the last, steps - 1."""
    columns = min(WIDTH, steps)
    return [i * (steps - 1) // max(1, columns - 1) for i in range(columns)]


def plot(values: Sequence[float], *, last: int) -> str:
    """Lines of text: the values, none below 0, on an axis from 0 to the largest, and the steps below them.

    Args:
      values: one for each column.
      last: the number of steps, at the right end of the axis.
    """
    most = max(values)
    rows = [round(value / most * (HEIGHT - 1)) if most > 0.0 else 0 for value in values]
    labels = {HEIGHT - 1: f"{most:.3g}", 0: "0"}
    lines = []
    for height in reversed(range(HEIGHT)):
        points = "".join("*" if row == height else " " for row in rows)
        lines.append(f"{labels.get(height, ''):>9} |{points}".rstrip())
    axis = "-" * len(rows)
    ends = "0" + f"{last:,}".rjust(max(len(rows) - 1, len(f"{last:,}") + 1))
    return "\n".join([*lines, f"{'':9} +{axis}", f"{'':10} {ends} steps"])
