"""Does everything run on this GPU, how fast is it, and what is not as it should be? To run first on a new machine.

    python -m experiments.gpu_check
    python -m experiments.gpu_check --seconds 150
    python -m experiments.gpu_check --only resnet-56-float32 resnet-56-bfloat16 --out runs/more.json

The parts come in order of importance: device, driver, versions and the arithmetic of float32; the tests of tests/gpu;
where the time of a train step goes; what the device reaches in products and memory traffic; step times of the papers'
nets beside Flax and PyTorch. Each part prints a line and is written to the record when it ends. A part that fails, or
for which the time does not suffice, costs itself alone.

On a CPU the same code runs with tiny sizes, in a minute or two; its times then say nothing. Use a machine that does
nothing else. PyTorch takes part where it is installed. Within --seconds the contestants of a race start side by side,
which saves time; without, one after another, which is fairer to compilers that choose algorithms by the clock.
"""

from __future__ import annotations

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
    """Checks and measures, part by part."""

    seconds: float | None = None
    """Budget for the whole command: a part that would not fit is left out, and one that runs then is cut. None: no
    limit."""
    only: tuple[str, ...] = ()
    """Parts to run, beside the device; none: all."""
    out: Path = Path("runs/gpu-check.json")
    """JSON file for the record, written anew after each part."""


def main(argv: list[str] | None = None) -> int:
    """Parses the options, checks, and prints; returns the exit status: 1 if a part failed."""
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
        # After Ctrl-C too: shows the results so far.
        screen.show(check.record, Console())
        print(f"record: {chosen.out}")
    return cli.FAILED if check.failed else cli.OK


if __name__ == "__main__":
    cli.run_main(main)
