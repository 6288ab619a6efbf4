"""Synthetic run directories: invented numbers, test inputs and nothing else."""

import json
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig, override, to_dict
from resnet_jax.record import Cost, DataFacts, Environment, Final, RunRecord, record_to_json
from resnet_jax.reports.comparison import Comparison
from resnet_jax.reports.grouping import comparisons
from resnet_jax.reports.runs import Runs, read_runs

DIGITS = DataFacts("digits", "9ce50153a0f47811", (8, 8, 1), 10, 1437, 360)
CIFAR10 = DataFacts("CIFAR-10", "fedcba9876543210", (32, 32, 3), 10, 50_000, 10_000)
_ENVIRONMENT = Environment(
    code="0.1.0 (abc1234)",
    python="3.11.9",
    versions={"jax": "0.10.2", "flax": "0.12.8"},
    xla_flags="",
    platform="cpu",
    device="Test CPU",
    devices=1,
    cpu_cores=2,
)
_EPOCHS = 10


def write_run(
    root: Path,
    net: str = "plain",
    depth: int = 20,
    seed: int = 0,
    train: float | None = 0.01,
    test: float = 0.02,
    *,
    study: str = "digits-depth",
    run: str | None = None,
    iterations: int = 240,
    rate: float = 0.1,
    changes: dict[str, Any] | None = None,
    data: DataFacts = DIGITS,
    finished: bool = True,
    fingerprint: str | None = None,
    parameters: int | None = None,
) -> Path:
    """Writes one run directory; `train` None: the run diverged. Errors are fractions."""
    shortcut = {"plain": "none", "resnet": "A", "resnet-B": "B"}[net]
    config = override(
        ExperimentConfig(),
        {
            "model.depth": depth,
            "model.shortcut": shortcut,
            "model.num_classes": data.num_classes,
            "optim.learning_rate": rate,
            "optim.milestones": (iterations // 2, iterations * 3 // 4),
            "train.iterations": iterations,
            "seed": seed,
            **(changes or {}),
        },
    )
    name = run or f"{net}-{depth}-it{iterations}-rate{rate:g}-seed{seed}"
    directory = root / study / name
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(to_dict(config)))
    lines, steps = [], config.train.iterations
    last = 0.5 if train is None else train
    for epoch in range(1, _EPOCHS + 1):
        left = 0.9 * (1.0 - epoch / _EPOCHS) ** 2
        line = {
            "epoch": epoch,
            "step": steps * epoch // _EPOCHS,
            "learning_rate": rate,
            "running_loss": 1.0,
            "running_error": min(0.9, last + left + 0.001),
            "test_loss": 1.0,
            "test_error": min(0.9, test + left * (1.1 + 0.1 * (epoch % 3))),
        }
        lines.append(json.dumps(line))
    if not finished or train is None:
        lines = lines[:4]
    (directory / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if not finished:
        return directory
    final = None
    if train is not None:
        final = Final(steps, 0.1, train, data.train_examples, 0.2, test, data.test_examples)
    record = RunRecord(
        study=study,
        run=name,
        status="diverged" if final is None else "finished",
        config=config,
        data=data,
        parameters=parameters or 13_482 * depth,
        multiply_adds=125_000 * depth,
        initial_fingerprint=fingerprint or f"depth{depth}seed{seed}",
        final=final,
        diverged_at_step=97 if final is None else None,
        environment=_ENVIRONMENT,
        cost=Cost(0.75 * depth, 0.1 * depth, 0.6 * depth, 0.05 * depth, 30_000 / depth, 1, "2026-01-01T00:00:00Z"),
    )
    (directory / "record.json").write_text(record_to_json(record))
    return directory


def write_study(root: Path) -> None:
    """Plain and residual nets of four depths, three seeds, and a control: numbers as digits might give them."""
    train = {
        ("plain", 8): (0.0, 0.0, 0.001),
        ("plain", 20): (0.001, 0.003, 0.002),
        ("plain", 32): (0.004, 0.012, 0.03),
        ("plain", 56): (0.52, 0.62, 0.57),
        ("resnet", 8): (0.0, 0.0, 0.0),
        ("resnet", 20): (0.0, 0.0, 0.0),
        ("resnet", 32): (0.0, 0.001, 0.0),
        ("resnet", 56): (0.001, 0.0, 0.004),
    }
    for (net, depth), errors in train.items():
        for seed, error in enumerate(errors):
            write_run(root, net, depth, seed, error, min(0.9, error + 0.008 + 0.004 * seed))
    for rate, errors in {0.1: (0.17, 0.2, 0.16), 0.05: (0.15, 0.14, 0.17), 0.02: (0.12, 0.1, 0.14)}.items():
        for seed, error in enumerate(errors):
            write_run(
                root, "plain", 56, seed, error, error + 0.07, iterations=1200, rate=rate, study="digits-depth-long"
            )
    for seed, error in enumerate((0.0, 0.0, 0.001)):
        write_run(root, "resnet", 56, seed, error, 0.019, iterations=1200, study="digits-depth-long")


def read(root: Path) -> tuple[Runs, tuple[Comparison, ...]]:
    """Runs under a folder and their comparisons."""
    runs = read_runs([root])
    return runs, comparisons(runs.complete)


def only(root: Path) -> Comparison:
    """The one comparison under a folder."""
    (comparison,) = read(root)[1]
    return comparison
