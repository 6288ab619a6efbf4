"""`import resnet_jax`: what it shows, and that it is light."""

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_jax

FACE = resnet_jax.__doc__ or ""


def test_importing_it_imports_no_library() -> None:
    heavy = {"jax", "flax", "optax", "numpy", "orbax", "sklearn"}
    code = f"import sys, resnet_jax; dir(resnet_jax); sys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_its_help_has_one_line_for_each_name() -> None:
    listed = re.findall(r"^\| `(\w+)` +\| \S.*\|$", FACE, re.MULTILINE)
    assert sorted(listed) == sorted(resnet_jax.__all__)
    assert FACE.strip() in pydoc.getdoc(resnet_jax)


@pytest.mark.parametrize("name", resnet_jax.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(resnet_jax, name)
    assert name in dir(resnet_jax)
    assert callable(found)
    # A dataclass without a docstring gets its signature as one, a NamedTuple too.
    first = (inspect.getdoc(found) or "").splitlines()[0]
    assert first.endswith((".", ":", ",")), first
    assert not first.startswith(f"{name}(")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        resnet_jax.bild  # noqa: B018


def test_paths_may_be_texts(tmp_path: Path) -> None:
    with pytest.raises(resnet_jax.UserError, match="nowhere"):
        resnet_jax.load_weights(str(tmp_path / "nowhere"))
