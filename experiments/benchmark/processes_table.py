"""The tables of `--what processes`. Nothing here imports JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.printed import Printed

STEP, CALL = "processes step", "processes call"
"""What the rows of a record are about."""
Row = dict[str, Any]


def printed(rows: Sequence[Row]) -> list[Printed]:
    """The tables that a record's rows make; none where it is of other measurements."""
    steps: list[tuple[str, ...]] = []
    calls: list[tuple[str, ...]] = []
    for row in rows:
        case = f"{row['net']}, {row['images']}, batch {row['batch_size']}, {row['dtype']}" if "layout" in row else ""
        if row["what"] == STEP:
            low, high = row["quartiles"]
            least, most = row["ratio_quartiles"]
            times = f"{1e3 * row['median']:,.1f} ({1e3 * low:,.1f} to {1e3 * high:,.1f})"
            rate = f"{row['batch_size'] / row['median']:,.0f}"
            steps.append((case, row["layout"], times, rate, f"{row['ratio']:.2f} ({least:.2f} to {most:.2f})"))
        elif row["what"] == CALL:
            share = f"{100 * row['seconds'] / row['step']:.1g} %"
            calls.append((row["call"], f"{row['net']}, {row['images']}", f"{1e6 * row['seconds']:,.1f}", share))
    found = []
    if steps:
        headings = ("case", "layout", "ms a step (quartiles)", "images/s", f"x {rows[0]['layout']}")
        found.append(Printed("Train steps on two devices, under shard_map", headings, steps, words=2))
    if calls:
        columns = ("call", "beside a step of", "µs", "of that step")
        found.append(Printed("How two processes agree", columns, calls, words=2))
    return found
