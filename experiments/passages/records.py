"""Reads committed records by the names in the markers of documents, such as digits-depth/plain-56."""

import functools
from pathlib import Path
from typing import Any

from resnet_jax.record import RECORD_FILE, Final, RunRecord, read_json, read_record

RECORDS = Path(__file__).parents[1] / "records"
SPLITS = ("train", "test")


def content(name: str) -> dict[str, Any]:
    """The content of a JSON file in experiments/records, by its name without the suffix."""
    return read_json(RECORDS / f"{name}.json")


@functools.cache
def records(name: str) -> tuple[RunRecord, ...]:
    """Reads the records of STUDY/RUN (all seeds), STUDY/RUN-seedN (one run) or STUDY (all runs, wildcards allowed).

    Raises:
      ValueError: there is no such record.
    """
    study, _, run = name.partition("/")
    patterns = [f"{run}/{RECORD_FILE}", f"{run}-seed[0-9]*/{RECORD_FILE}"] if run else [f"*/{RECORD_FILE}"]
    found = tuple(read_record(file) for pattern in patterns for file in sorted(RECORDS.glob(f"{study}/{pattern}")))
    if not found:
        raise ValueError(f"no record {name}")
    return found


def finals(name: str) -> dict[int, Final]:
    """The final results of the runs of one net, STUDY/RUN, by seed.

    Raises:
      ValueError: there is no such record, or a run diverged.
    """
    ended = {record.config.seed: record.final for record in records(name)}
    if None in ended.values():
        raise ValueError(f"a run of {name} diverged")
    return {seed: final for seed, final in ended.items() if final is not None}


def errors(name: str, split: str = "train") -> dict[int, float]:
    """The errors of the runs of one net, as fractions, by seed.

    `name` is STUDY/RUN, with or without a seed; `split` is "train" or "test".
    """
    if split not in SPLITS:
        raise ValueError(f"got {split!r}; legal: {', '.join(SPLITS)}")
    return {seed: float(getattr(final, f"{split}_error")) for seed, final in finals(name).items()}
