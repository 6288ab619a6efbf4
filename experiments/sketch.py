"""Plots a quantity against the steps of a run, in ASCII characters."""

from collections.abc import Sequence

WIDTH, HEIGHT = 60, 8


def positions(steps: int) -> list[int]:
    """The step that each column of a plot shows: evenly spaced numbers from 0 to steps - 1."""
    columns = min(WIDTH, steps)
    return [i * (steps - 1) // max(1, columns - 1) for i in range(columns)]


def plot(values: Sequence[float], *, last: int) -> str:
    """Draws a plot as lines of text. The vertical axis is from 0 to the largest value, the horizontal one shows steps.

    Args:
      values: the value of each column, at least 0.
      last: number of steps, printed at the right end of the horizontal axis.
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
