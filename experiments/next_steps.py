"""Suggests commands after a report, for the runs of the report.

Only commands that can run are suggested. An instrument is suggested if the runs have checkpoints. A control study
trains the plain nets of a study longer. It is suggested if the study of the runs names a control study.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.studies import experiments, studies
from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.record import CHECKPOINTS, differences, differing
from resnet_jax.reports.runs import Run, Runs

MOST_CHANGES = 2
"""Largest number of options in a suggested command."""


@dataclass(frozen=True)
class Suggestion:
    """A question, and the commands that answer it."""

    what: str
    commands: tuple[tuple[str, ...], ...]
    """Words after "python -m" of each command, in order."""


def suggestions(runs: Runs) -> list[Suggestion]:
    """The suggestions for some runs: a control study, an ablation, a look inside their nets."""
    found = (_control(runs), _ablate(runs), _look_inside(runs))
    return [suggestion for suggestion in found if suggestion is not None]


def python() -> str:
    """The command that starts this Python interpreter: "python", or its path if "python" is another interpreter."""
    here = Path(sys.executable)
    if shutil.which("python") == str(here):
        return "python"
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def typed(words: Sequence[str], width: int, indent: str = "    ") -> str:
    """Formats the command `python -m words` for a shell, in lines of at most `width` characters."""
    lines = [f"{indent}{python()} -m"]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + 1 + len(word) + len(" \\") > width and lines[-1].strip():
            lines[-1] += " \\"
            lines.append(f"{indent}    {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def _control(runs: Runs) -> Suggestion | None:
    """Suggests the control study of these runs, which trains the plain nets longer; None if there is no control."""
    here = {run.record.study for run in runs.complete}
    for name, (study, _) in studies().items():
        if name not in here or study.control is None or study.control in here:
            continue
        folder = next(run.directory.parent for run in runs.complete if run.record.study == name)
        mine = [run for run in runs.complete if run.directory.parent == folder]
        asked = study.runs(tuple(sorted({run.seed for run in mine})))
        own = all(run.record.run in asked and not differences(asked[run.record.run], run.record.config) for run in mine)
        if own and folder.name == name:
            where: tuple[str, ...] = () if folder.parent == Path("runs") else (f"--runs={folder.parent}",)
            path = mine[0].record.config.data.path
            where += () if path == study.base.data.path else (f"--data.path={path}",)
            return Suggestion(
                "Is it degradation, or only too little training?",
                (
                    ("experiments.sweep", study.control, *where, "--jobs=auto"),
                    ("experiments.report", str(folder), str(folder.parent / study.control)),
                ),
            )
    return None


def _ablate(runs: Runs) -> Suggestion | None:
    """Suggests training the deepest residual net without the shortcut of one block; None if no run is suitable."""
    residual = [run for run in runs.complete if not run.record.config.model.is_plain and not run.diverged]
    if not residual or any(run.record.config.model.cut for run in residual):  # there is such an ablation already
        return None
    run = max(residual, key=lambda run: (run.record.config.model.depth, -run.seed))
    model = run.record.config.model
    name, changed = _nearest_experiment(run.record.config)
    values = flatten(to_dict(run.record.config))
    changed = [field for field in changed if field not in run.record.config.operational]
    if len(changed) > MOST_CHANGES or any(isinstance(values[field], list | None) for field in changed):
        return None
    changes = [f"--{field.replace('_', '-')}={values[field]}" for field in changed]
    folder = run.directory.parent.parent
    where = () if folder == Path("runs") else (f"--runs={folder}",)
    middle = f"stage2_block{(model.stage_blocks[1] + 1) // 2}"
    return Suggestion(
        f"What happens to the net of {model.depth} layers without one of its shortcuts?",
        (("experiments.train", name, *changes, f"--model.cut={middle}", *where),),
    )


def _look_inside(runs: Runs) -> Suggestion | None:
    """Suggests a measurement inside a plain net and the residual net of the same depth; None without such a pair.

    Both runs must have checkpoints. Of several pairs, the deepest is chosen.
    """
    whole = [run for run in runs.complete if not run.diverged and any((run.directory / CHECKPOINTS).glob("*"))]
    pairs = [
        (plain, other)
        for plain in whole
        for other in whole
        if plain.record.config.model.is_plain
        and plain.record.study == other.record.study
        and list(differing(plain.record.config, other.record.config)) == ["model.shortcut"]
    ]
    if not pairs:
        return None
    pair = max(pairs, key=lambda pair: (pair[0].record.config.model.depth, -pair[0].seed))
    return Suggestion(
        "Look inside: how does the error of each trained net change when a block is deleted?",
        (("experiments.analyze", "lesions", *(str(run.directory) for run in pair)),),
    )


def repeat(run: Run) -> str:
    """The command that trains a run again: the most similar experiment, and options for the fields that differ."""
    config = run.record.config
    (name, changed), values = _nearest_experiment(config), flatten(to_dict(config))
    options = []
    for field in changed:
        value = values[field]
        options += [f"--{field.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(["python", "-m", "experiments.train", name, *options])


def _nearest_experiment(config: ExperimentConfig) -> tuple[str, list[str]]:
    """The named experiment most similar to a configuration, and the names of the fields that differ between the two.

    Fields that have no effect in the configuration are left out. Milestones and warm-up are compared in iterations: an
    experiment may give them in shares of the run, but a record always has iterations.
    """
    asked, idle = flatten(to_dict(config.in_iterations())), config.without_effect()
    found = []
    for name, base in experiments().items():
        optim = base.optim.in_iterations(config.train.iterations)
        mine = flatten(to_dict(base))
        mine |= {"optim.milestones": list(optim.milestones), "optim.warmup_iterations": optim.warmup_iterations}
        changed = [field for field in asked if field not in idle and asked[field] != mine[field]]
        # The same data source comes first, because the source decides what other data fields mean.
        found.append((base.data.source != config.data.source, len(changed), name, changed))
    return min(found)[2:]
