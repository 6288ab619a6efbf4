"""The tables of `--what input`. Nothing here imports JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.printed import Printed

STAGE, LOADER, FEED = "input stage", "input loader", "input feed"
"""What the rows of a record are about."""
Row = dict[str, Any]


def printed(rows: Sequence[Row]) -> list[Printed]:
    """The tables that a record's rows make; none where it is of other measurements."""
    found = {what: [row for row in rows if row["what"] == what] for what in (STAGE, LOADER, FEED)}
    makers = {STAGE: _stages, LOADER: _loaders, FEED: _feed}
    return [makers[what](each) for what, each in found.items() if each]


def _stages(rows: list[Row]) -> Printed:
    whole = sum(row["core_s"] for row in rows)
    cells = [(row["stage"], f"{1e3 * row['core_s']:.2f}", f"{100 * row['core_s'] / whole:.0f} %") for row in rows]
    return Printed("One image, in one thread", ("stage", "ms", "share"), [tuple(cell) for cell in cells], words=1)


def _loaders(rows: list[Row]) -> Printed:
    rate = rows[0]["device_rate"]
    cells: list[tuple[str, ...]] = []
    for row in rows:
        by_core = row["images"] / row["core_s"]
        numbers = (f"{by_core:,.0f}", f"{row['images'] / row['wall_s']:,.0f}", f"{rate / by_core:.1f}")
        cells.append((row["loader"], *numbers))
    title = f"Random 224x224 crops, {rows[0]['cores']} cores"
    return Printed(title, ("loader", "images / core s", "images/s", f"cores for {rate:,.0f} images/s"), cells, words=1)


def _feed(rows: list[Row]) -> Printed:
    cells: list[tuple[str, ...]] = []
    for row in rows:
        memory = [f"{size / 1e6:,.0f}" for size in (*row["resident_bytes"], row["peak_resident_bytes"])]
        early, late, peak = memory[0], memory[-2], memory[-1]
        taken = f"{row['consumer_rate']:,.0f} ({100 * row['consumer_share']:.0f} %)"
        cells.append(
            (f"{row['batches']} of {row['batch_size']}", taken, f"{100 * row['waited']:.1f} %", early, late, peak)
        )
    headings = ("batches", "images/s taken", "time waiting", "MB after a tenth", "MB at the end", "largest MB")
    return Printed("The feed alone, with a consumer that takes so many images/s", headings, cells, words=1)
