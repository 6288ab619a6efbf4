"""What a record says of the code: the commit, and whether files that can change a result were changed."""

import subprocess
from pathlib import Path

import pytest

import resnet_jax
from resnet_jax.training.environment import code_version


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, from which resnet_jax seems to be imported."""
    for name in ("resnet_jax/__init__.py", "experiments/study.py", "docs/page.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(resnet_jax, "__file__", str(tmp_path / "resnet_jax" / "__init__.py"))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("docs/page.md", False),
        (
            "experiments/records/digits-depth/plain-20-seed0/record.json",
            False,
        ),  # a sweep with --runs experiments/records
        ("experiments/study.py", True),
        ("resnet_jax/new.py", True),
    ],
)
def test_changes_are_those_of_files_that_can_change_a_result(checkout: Path, changed: str, counts: bool) -> None:
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert code_version() == f"{resnet_jax.__version__} {commit}"
    (checkout / changed).parent.mkdir(parents=True, exist_ok=True)
    (checkout / changed).write_text("# other\n")
    assert code_version().endswith("+changes") == counts


def test_an_installed_copy_has_a_version_alone(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = checkout / "lib" / "resnet_jax" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("\n")
    monkeypatch.setattr(resnet_jax, "__file__", str(installed))
    assert code_version() == resnet_jax.__version__
