"""Without tensorflow-datasets everything runs but the source that needs it, and that says so in one sentence."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import experiments

ROOT = Path(experiments.__file__).parent.parent
BLOCKED = "import sys; sys.modules['tensorflow_datasets'] = None\n"  # as if it were not installed


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_cifar10_depth_runs_on_an_npz_file_without_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {
        f"{split}_images": draw.integers(0, 256, (count, 32, 32, 3), np.uint8)
        for split, count in (("train", 20), ("test", 10))
    }
    labels = {f"{split}_labels": np.arange(count) % 10 for split, count in (("train", 20), ("test", 10))}
    np.savez(tmp_path / "cifar10.npz", **arrays, **labels)
    options = [f"--data.path={tmp_path}/cifar10.npz", "--data.source=npz", "--only=plain-20-seed0", "--seeds=0"]
    options += ["--train.iterations=1", "--optim.milestones", "--train.batch-size=8", "--train.eval-batch-size=10"]
    options += ["--model.width=1", "--model.norm.ghost-size=4", f"--runs={tmp_path}/runs"]
    done = run(f"from experiments import sweep\nsys.exit(sweep.main(['cifar10-depth', *{options!r}]))")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 runs finished." in done.stdout
    assert (tmp_path / "runs" / "cifar10-depth" / "plain-20-seed0" / "record.json").exists()


def test_the_source_that_needs_it_says_how_to_get_it_or_do_without(tmp_path: Path) -> None:
    sentence = "error: data.source='tfds' needs tensorflow-datasets, which is not installed; run pip install"
    for module, words in (
        ("train", ["cifar10-resnet", f"--runs={tmp_path}"]),
        ("prepare", ["cifar10"]),
    ):
        code = f"from experiments import cli, {module}\ncli.run_main(lambda: {module}.main({words!r}))"
        done = run(code)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(sentence), done.stderr
        assert "--data.source=npz --data.path=FILE.npz" in done.stderr


def test_nothing_else_imports_it() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("resnet_jax", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py", "tfds.py", "tfds_files.py", "tfds_records.py")
        # What they import is optional, and installed with an extra of its own.
        and path.name not in ("tensorboard.py", "wandb.py")
        and not {"peers", "site"} & set(path.parts)
    ]
    assert len(modules) > 80
    done = run("import importlib\nfor name in " + repr(modules) + ":\n    importlib.import_module(name)")
    assert done.returncode == 0, done.stderr
