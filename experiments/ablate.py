"""Train a net and changed versions of it (variants) with the same seeds, and compare them.

python -m experiments.ablate digits-resnet --model.depth=56 cut=stage2_block3 shortcut=B survival=0.5 --seeds 0 1 2

Each variant is a change of the net, FIELD=VALUE, or several changes joined by commas. This command has three variants:
one block without its shortcut (cut), the shortcuts of option B, and blocks that are dropped at random in training
(survival). The last part of a field's name is enough if it is unique: cut instead of model.cut. Options such as
--model.depth change the baseline and all variants. After an interruption, run the same command to resume. If you add a
variant to the command, only that variant is trained.
"""

import dataclasses
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from experiments import cli
from experiments.options import parse, typed_fields
from experiments.report import show_report
from experiments.states import state
from experiments.studies import experiments
from experiments.study import Study, parse_changes, short
from experiments.sweep import Sweep, carry_out
from resnet_jax.config import ExperimentConfig, changed_fields, override, settle, unbind
from resnet_jax.errors import UserError
from resnet_jax.reports.fields import values

SEEDS = (0, 1, 2)
_VARIANT = re.compile(r"[A-Za-z_][\w.]*=.*", re.DOTALL)
_USAGE = "python -m experiments.ablate EXPERIMENT [OPTIONS] FIELD=VALUE [FIELD=VALUE ...]"


def main(argv: list[str] | None = None) -> int:
    """Trains the runs that have not finished, prints the comparison, writes a report; returns the exit status."""
    named = experiments()
    name, rest = cli.first_word(sys.argv[1:] if argv is None else argv, "ablate", "experiment", list(named))
    words = [word for word in rest if _VARIANT.fullmatch(word)]
    options = [word for word in rest if not _VARIANT.fullmatch(word)]
    program = f"python -m experiments.ablate {name}"
    chosen = parse(Sweep, options, default=Sweep(named[name], seeds=SEEDS), program=program, description=__doc__)
    if not words:
        raise UserError(f"variants: none given; legal: one or more, such as cut=stage2_block1; usage: {_USAGE}")
    changed = changed_fields(named[name], chosen.config)
    if "seed" in changed:
        raise UserError(f"seed: got {changed['seed']}; use --seeds instead, such as --seeds 0 1 2.")
    typed = typed_fields(options, chosen.config)
    chosen = dataclasses.replace(
        chosen, config=settle(unbind(chosen.config, changed, typed=typed), chosen={*changed, *typed})
    )
    study = Study(
        name="-".join([f"ablate-{name}", *(f"{k.rsplit('.', 1)[-1]}={short(v)}" for k, v in changed.items())]),
        base=chosen.config,
        variants=({}, *variants(chosen.config, words)),
        seeds=chosen.seeds,
    )
    command = ["experiments.ablate", name, *rest]
    line = shlex.join(["python", "-m", *command])
    status, folder = carry_out(study, chosen, command, stated=study, in_command=argv is None)
    if folder is None or chosen.dry_run or not cli.is_first():
        return status
    wanted = study.runs(chosen.seeds)
    there = [
        folder / run for run, config in wanted.items() if state(folder / run, config) in ("finished", "unfinished")
    ]
    if any(state(directory, wanted[directory.name]) == "finished" for directory in there):
        show_report(there, folder / "report", line)
    return status


def variants(base: ExperimentConfig, words: Sequence[str]) -> list[dict[str, Any]]:
    """Parses the variants of a command line, such as "cut=stage2_block3"; returns {dotted field: value} for each.

    Raises:
      UserError: a field is unknown or ambiguous, a value is illegal, a variant changes nothing, or two variants give
        the same configuration.
    """
    seen = [(base, "")]
    found = []
    for word in words:
        found.append(parse_changes(base, word))
        if "seed" in found[-1]:
            raise UserError(f"{word}: the field seed cannot be a variant; use --seeds to choose the seeds.")
        config = override(base, found[-1])
        for other, name in seen:
            if values(config) == values(other):
                what = f"is the same as {name}" if name else "changes nothing"
                raise UserError(f"{word}: {what}; legal: a variant unlike the baseline and all other variants.")
        seen.append((config, word))
    return found


if __name__ == "__main__":
    cli.run_main(main)
