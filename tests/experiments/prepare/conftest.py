"""What all tests of preparing a data set have."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import tensorflow_datasets

from experiments import prepare
from tests.experiments.prepare.builder import PATIENCE, Builder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` sets for TensorFlow is gone after the test; the proxies of this machine do not matter."""
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("CUDA_VISIBLE_DEVICES", "-1"), ("NO_PROXY", "*")):
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of these tests answer at once; however slow this machine is, their answers are waited for."""
    assert inspect.signature(prepare.answers).parameters["seconds"].default == prepare.PROBE_SECONDS
    monkeypatch.setattr(prepare, "answers", partial(prepare.answers, seconds=PATIENCE))


@pytest.fixture
def with_builder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Builder], None]:
    """Installs a builder, and lets TensorFlow pass for installed."""

    def install(builder: Builder) -> None:
        def make(name: str, *, data_dir: Path, file_format: str) -> Builder:
            assert file_format == "array_record"
            return builder

        monkeypatch.setattr(tensorflow_datasets, "builder", make)
        monkeypatch.setattr(prepare, "_require_modules", lambda: None)
        monkeypatch.setattr(prepare, "_require_tensorflow", lambda: None)

    return install
