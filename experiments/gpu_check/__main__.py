"""Check a machine with a new GPU: does everything run, are the results right, and how fast is it?

    python -m experiments.gpu_check
    python -m experiments.gpu_check --seconds 150
    python -m experiments.gpu_check --only resnet-56-float32 resnet-56-bfloat16 --out runs/more.json

The check has these parts, in order of importance:

- device, driver, versions, and the arithmetic of float32 products;
- the tests of tests/gpu;
- the time of a train step, divided into host and device;
- the highest rates of matrix products and memory traffic;
- step times of the papers' nets, compared with Flax and, if it is installed, PyTorch.

Each part prints a line when it ends, and is then written to the record. If a part fails, or if there is not enough time
for it, the other parts still run.

Use an idle machine. On a CPU the same code runs with tiny sizes, in a minute or two, and the times mean nothing. With
--seconds, compared programs start at the same time, to save time. Without it they start one after another, because some
compilers choose algorithms by measured times.
"""

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments import cli
from experiments.gpu_check import screen
from experiments.gpu_check.check import Check
from experiments.gpu_check.plan import FULL, SMALL
from experiments.options import parse
from resnet_jax.errors import UserError
from resnet_jax.text import nearest


@dataclass(frozen=True)
class GpuCheck:
    """Run the check."""

    seconds: float | None = None
    """Time limit for the whole command. A part that needs more than the remaining time is not started, and a part that
    runs when the time is up is stopped. None: no limit."""
    only: tuple[str, ...] = ()
    """Names of parts to run after the part "device" (which always runs); none: all."""
    out: Path = Path("runs/gpu-check.json")
    """JSON file for the record; written after each part."""


def main(argv: list[str] | None = None) -> int:
    """Runs the check and prints its tables; returns the exit status, 1 if a part failed."""
    words = sys.argv[1:] if argv is None else argv
    program = "python -m experiments.gpu_check"
    chosen = parse(GpuCheck, words, program=program, description=__doc__)
    if chosen.seconds is not None and not chosen.seconds > 0.0:
        raise UserError(f"seconds: got {chosen.seconds}; legal: a number above 0.")
    names = list(dict.fromkeys(part.name for part in (*FULL, *SMALL)))
    for name in chosen.only:
        if name not in names:
            raise UserError(f"only: got {name!r}; {nearest(name, names)}")
    cli.prepare_output(chosen.out, "out")
    budget = math.inf if chosen.seconds is None else chosen.seconds
    check = Check(f"{program} {shlex.join(words)}".strip(), chosen.out, budget, chosen.only)
    try:
        check.go(None, lambda line: print(line, flush=True))
    finally:
        # Shows the results so far, also after Ctrl-C.
        screen.show(check.record, Console())
        print(f"record: {chosen.out}")
    return cli.FAILED if check.failed else cli.OK


if __name__ == "__main__":
    cli.run_main(main)
