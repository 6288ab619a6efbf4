"""Prints the tables of docs/derivation.md: the cost of nets by formula, and measured gradients before training.

    python -m experiments.derivation                     # all tables; --language=zh for derivation.zh.md
    python -m experiments.derivation --measure           # first measures the gradients and writes them to --record

`python -m experiments.documents` writes the tables into the documents. Cost: a second; with --measure some minutes on 2
CPU cores, mostly for compilation.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from experiments import cli
from experiments.derivation.gradients import measure, to_json
from experiments.derivation.tables import Language, tables
from experiments.options import parse
from resnet_jax.files import write_atomically

RECORD = Path("experiments/records/gradients-at-start.json")


@dataclass(frozen=True)
class Derivation:
    """Options of the command that prints the tables of docs/derivation.md. Run it in the root of a checkout."""

    language: Language = "en"
    """Language of the headings."""
    record: Path = RECORD
    """JSON file with the measured gradients."""
    measure: bool = False
    """Measure the gradients first and write `record`."""


def main(argv: list[str] | None = None) -> int:
    """Parses the options, measures the gradients with --measure, and prints the tables. Returns the exit status."""
    chosen = parse(Derivation, argv, program="python -m experiments.derivation", description=__doc__)
    if chosen.measure:
        chosen.record.parent.mkdir(parents=True, exist_ok=True)  # fails now, not after minutes of measuring
        os.environ["JAX_ENABLE_X64"] = "1"  # before JAX is imported
        write_atomically(chosen.record, to_json(measure()))
    print("\n\n".join(tables(chosen.record, chosen.language)))
    return cli.OK


if __name__ == "__main__":
    cli.run_main(main)
