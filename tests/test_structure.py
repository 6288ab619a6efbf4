"""The house keeps its order: a folder imports only from those above it, in training a module only from those before it,
nothing imports itself by a detour, and the light ones never import JAX."""

from __future__ import annotations

import ast
import configparser
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_jax

PACKAGE = Path(resnet_jax.__file__).parent
# From the top of the house down; a room may import from itself and from earlier rows.
ROOMS = (
    "ending",
    "errors",
    "files",
    "text",
    "types",
    "config",
    "record",
    "data",
    "models",
    "weights",
    "training",
    "analysis",
    "reports",
    "__main__",
)
LIST_OF_SHORTCUTS = "resnet_jax.models.shortcuts"
# The same within training, module by module.
TRAINING = (
    *("state", "ema", "losses", "metrics", "pace", "schedules", "optim", "gradients", "step"),
    *("launchers", "meeting", "link", "processes", "mesh", "feed", "evaluate"),
    *("pretrained", "assemble", "compiled", "program", "batch_stats"),
    *("manifest", "checkpoints", "run_directory", "environment", "observers", "recorder", "loop", "run", "restore"),
)


def imports(path: Path) -> set[str]:
    """Absolute module names that a file imports, wherever in the file, under `if TYPE_CHECKING` too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_its_place() -> None:
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in FILES} - {"__init__"}
    assert rooms <= set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        root, *rest = name.split(".")
        assert root not in ("experiments", "tests"), f"{path} imports {name}"
        if name.startswith(LIST_OF_SHORTCUTS):  # it imports nothing, and the configuration takes the names from there
            continue
        if root == "resnet_jax" and rest and here != "__init__":
            assert ROOMS.index(rest[0]) <= ROOMS.index(here), f"{path} imports {name}, from a room below it"


def test_the_list_of_shortcuts_imports_nothing_of_the_package() -> None:
    assert not {name for name in imports(PACKAGE / "models" / "shortcuts.py") if name.startswith("resnet_jax")}


def test_every_module_of_training_has_its_place() -> None:
    modules = {p.relative_to(PACKAGE / "training").parts[0].removesuffix(".py") for p in FILES if "training" in p.parts}
    assert modules == {*TRAINING, "__init__"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "training").rglob("*.py")), ids=lambda p: p.stem)
def test_training_is_built_from_the_bottom_up(path: Path) -> None:
    here = path.relative_to(PACKAGE / "training").parts[0].removesuffix(".py")
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["resnet_jax", "training"] and parts[2:] and here != "__init__":
            assert TRAINING.index(parts[2]) <= TRAINING.index(here), f"{path} imports {name}, from a module after it"


def test_no_module_imports_itself_by_a_detour() -> None:
    modules = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in FILES}
    graph = {module: imports(path) & modules.keys() for module, path in modules.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("name", ["flax_resnet", "loaders", "torch_resnet"])
def test_peers_share_nothing_with_the_package(name: str) -> None:
    path = PACKAGE.parent / "experiments" / "benchmark" / "peers" / f"{name}.py"
    assert {module.split(".")[0] for module in imports(path)}.isdisjoint({"resnet_jax", "experiments", "tests"})


@pytest.mark.parametrize(
    "module",
    [
        "resnet_jax.config",
        "resnet_jax.record",
        "resnet_jax.models.cost",
        "resnet_jax.analysis.instruments",
        "resnet_jax.reports.figures.draw",
        "experiments.__main__",
        "experiments.train",
        "experiments.analyze",
        "experiments.sweep",
        "experiments.convert",
        "experiments.classify",
        "experiments.evaluate",
        "experiments.benchmark.__main__",
        "experiments.gpu_check.__main__",
        "experiments.derivation.__main__",
    ],
)
def test_light_modules_do_not_import_jax(module: str) -> None:
    code = f"import sys, {module}; sys.exit('jax' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_alone_says_where_the_commands_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resnet_jax"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "python -m experiments" in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_the_package_is_installed() -> None:
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    find = settings["options.packages.find"]
    assert find["include"].split() == ["resnet_jax*"]
    packages = {".".join(p.parent.relative_to(PACKAGE.parent).parts) for p in FILES if p.name == "__init__.py"}
    folders = {".".join(p.parent.relative_to(PACKAGE.parent).parts) for p in FILES}
    assert folders == packages, "a folder without __init__.py is not installed"


def test_every_docstring_stands_alone() -> None:
    """A text that starts with "Of" can be read only together with the name beside it."""
    root = PACKAGE.parent
    for path in [*FILES, *sorted((root / "experiments").rglob("*.py")), *sorted((root / "tests").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                assert not node.value.value.startswith("Of "), f"{path}:{node.lineno}: {node.value.value}"
