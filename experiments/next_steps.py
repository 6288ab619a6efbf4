"""Suggestions after a report: commands for the runs of the report.

Only suggestions that these runs allow are made. Looking inside a net needs checkpoints, and a control needs a study
that has one.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.studies import experiments, studies
from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.record import CHECKPOINTS, differences
from resnet_jax.reports.runs import Run, Runs

MOST_CHANGES = 2
"""Largest number of options in a suggested command."""


@dataclass(frozen=True)
class Suggestion:
    """A suggestion and its commands."""

    what: str
    commands: tuple[tuple[str, ...], ...]
    """Words after "python -m" of each command, in order."""


def suggestions(runs: Runs) -> list[Suggestion]:
    """The suggestions for some runs: their control, an ablation, a look inside."""
    found = (_control(runs), _ablate(runs), _look_inside(runs))
    return [suggestion for suggestion in found if suggestion is not None]


def python() -> str:
    """The command that starts this Python: "python" if it means this Python, else its path."""
    here = Path(sys.executable)
    if shutil.which("python") == str(here):
        return "python"
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def typed(words: Sequence[str], width: int, indent: str = "    ") -> str:
    """A command as text, on several lines with backslashes if it is too long."""
    lines = [f"{indent}{python()} -m"]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + 1 + len(word) + len(" \\") > width and lines[-1].strip():
            lines[-1] += " \\"
            lines.append(f"{indent}    {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def _control(runs: Runs) -> Suggestion | None:
    """The control of the study of these runs, which trains plain nets longer, if there is one."""
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
    """The suggestion of an ablation of the deepest residual net, without the shortcut of one block."""
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
    """An instrument for the deepest plain and residual net of one seed that have checkpoints."""
    whole = [run for run in runs.complete if not run.diverged and any((run.directory / CHECKPOINTS).glob("*"))]
    pairs = [
        (plain, other)
        for plain in whole
        for other in whole
        if plain.record.config.model.is_plain and _twins(plain, other)
    ]
    if not pairs:
        return None
    pair = max(pairs, key=lambda pair: (pair[0].record.config.model.depth, -pair[0].seed))
    return Suggestion(
        "Look inside: how does the error of each trained net change when a block is deleted?",
        (("experiments.analyze", "lesions", *(str(run.directory) for run in pair)),),
    )


def _twins(plain: Run, other: Run) -> bool:
    """Whether two runs differ only in the shortcut."""
    apart = differences(plain.record.config, other.record.config)
    return plain.record.study == other.record.study and [text.split(":")[0] for text in apart] == ["model.shortcut"]


def repeat(run: Run) -> str:
    """The command that trains a run again: the named experiment nearest to its configuration, and what differs."""
    config = run.record.config
    (name, changed), values = _nearest_experiment(config), flatten(to_dict(config))
    options = []
    for field in changed:
        value = values[field]
        options += [f"--{field.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(["python", "-m", "experiments.train", name, *options])


def _nearest_experiment(config: ExperimentConfig) -> tuple[str, list[str]]:
    """The named experiment nearest to a configuration, and the fields in which they differ with an effect."""
    asked, idle = flatten(to_dict(config)), config.without_effect()
    found = []
    for name, base in experiments().items():
        mine = flatten(to_dict(base))
        changed = [field for field in asked if field not in idle and asked[field] != mine[field]]
        # The source of the data decides what other fields mean, so one with the same source comes first.
        found.append((base.data.source != config.data.source, len(changed), name, changed))
    return min(found)[2:]
