"""A data set is one module: it is a legal `data.source` as soon as it lies in the folder."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_jax
from resnet_jax.config import DataConfig
from resnet_jax.config.data import SOURCES
from resnet_jax.data import import_source
from resnet_jax.errors import UserError

STRIPES = """
import numpy as np
from resnet_jax.data.dataset import ArraySource, Dataset

def load(config, note):
    images, labels = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32)
    return Dataset("stripes", ArraySource(images, labels), ArraySource(images[:2], labels[:2]), ("a", "b"))
"""


def test_the_names_are_the_modules() -> None:
    assert set(SOURCES) >= {"digits", "folder", "npz", "tfds"}
    with pytest.raises(UserError, match=r"data\.source: got 'cifar'; legal: 'digits',"):
        DataConfig(source="cifar")


@pytest.mark.parametrize("name", SOURCES)
def test_each_has_the_same_entrance(name: str) -> None:
    assert list(inspect.signature(import_source(name).load).parameters) == ["config", "note"]


def test_a_new_module_is_a_new_source(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(Path(resnet_jax.__file__).parent, tmp_path / "resnet_jax"))
    (copy / "data" / "sources" / "stripes.py").write_text(STRIPES)
    program = "from resnet_jax.config import DataConfig; from resnet_jax.data import load\n"
    program += "print(load(DataConfig(source='stripes', path='anywhere')).name)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.stdout == b"stripes\n", done.stderr.decode()
