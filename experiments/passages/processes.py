"""Tables on runs over several processes: differences from a run in one process, and behaviour after faults."""

from collections import Counter
from typing import Any

from experiments.passages.records import content
from resnet_jax.reports.document import Table, markdown_table


def processes() -> str:
    """A table of the largest differences between runs over 1, 2 or 4 processes and a reference run in one process."""
    by_count: dict[int, list[dict[str, Any]]] = {}
    for run in content("processes")["runs"]:
        by_count.setdefault(run["processes"], []).append(run)
    rows = [
        (str(count), *(f"{max(run[what] for run in runs):.1e}" for what in ("parameters", "losses")))
        for count, runs in sorted(by_count.items())
    ]
    headers = ("processes", "largest difference of a parameter", "largest relative difference of a loss")
    return markdown_table(Table("", headers, tuple(rows), text_columns=0))


def faults() -> str:
    """A table of the number of injected faults of each kind, in runs over 2 and 4 processes."""
    counts = Counter((fault["fault"], fault["of"]) for fault in content("faults")["faults"])
    rows = [(kind, *(str(counts[kind, of]) for of in (2, 4))) for kind in sorted({kind for kind, _ in counts})]
    return markdown_table(Table("", ("fault", "2 processes", "4 processes"), tuple(rows), text_columns=1))


def fault_runs(what: str) -> str:
    """A number from the test with injected faults.

    Args:
      what: "faults": number of faults. "runs": number of runs. "difference": largest difference of a parameter from
        the run without faults. "tolerance": the largest difference that the test allows.
    """
    record = content("faults")
    if what in ("faults", "runs"):
        return str(len(record[what]))
    return f"{record[what] if what == 'tolerance' else max(run['difference'] for run in record['runs']):.1e}"
