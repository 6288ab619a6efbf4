"""The command that measures the colours of training images, against NumPy, and the runs that use what it keeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import cli, statistics
from resnet_jax.data import decode, load, normalization
from resnet_jax.errors import UserError
from tests.data.pictures import streamed, write

STREAM = ["--data.stream=True", "--data.image-size=20", "--data.eval-resize=24", "--data.statistics-images=6"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path / "pictures")


def measured(root: Path, *options: str) -> dict[str, Any]:
    out = root.parent / "statistics.json"
    words = ["folder-resnet", f"--data.path={root}", *options, "--out", str(out)]
    assert statistics.main(words) == cli.OK
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def check(found: dict[str, Any], pixels: np.ndarray) -> None:
    """Against NumPy on the pixels [N, H, W, 3] uint8."""
    colours = pixels.reshape(-1, 3) / 255.0
    np.testing.assert_allclose(found["mean"], colours.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found["std"], colours.std(axis=0), rtol=1e-10)
    # Singular values and right vectors of the centred colours: the decomposition that the command does not use.
    _, singular, vectors = np.linalg.svd(colours - colours.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found["variances"], singular**2 / len(colours), rtol=1e-8)
    for component, vector in zip(found["components"], vectors, strict=True):
        np.testing.assert_allclose(np.abs(np.dot(component, vector)), 1.0, rtol=1e-10)
        assert sum(component) >= 0.0


def test_streamed_images_by_numpy_and_by_the_runs_that_find_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(root, *STREAM)
    source = load(streamed(root)).train
    check(found, source.take(np.array([0, 2, 4, 7, 9, 11])))  # evenly spread over twelve
    assert (found["images"], found["of"]) == (6, 12)
    assert found["fingerprint"] == load(streamed(root)).fingerprint
    printed = capsys.readouterr().out
    assert "6 of 12 training images of pictures (folder)" in printed
    assert f"{found['mean'][0]:.6f}" in printed
    # A run with other augmentation and the same images decodes none of them for its statistics.
    monkeypatch.setattr(decode, "views", None)
    used = normalization(source, streamed(root, color_noise=0.1))
    np.testing.assert_allclose(used.mean.reshape(-1), found["mean"], rtol=1e-15)
    np.testing.assert_allclose(used.std.reshape(-1), found["std"], rtol=1e-15)
    assert used.colors is not None
    expected = np.array(found["components"]).T * found["variances"]
    np.testing.assert_allclose(used.colors, expected, rtol=1e-15)


def test_images_in_memory_are_all_taken(root: Path) -> None:
    found = measured(root, "--data.image-size=20")
    check(found, load(streamed(root, eval_resize=20)).train.take(np.arange(12)))
    assert found["images"] == 12


def test_grey_images_have_one_channel(root: Path) -> None:
    found = measured(root, "--data.image-size=20", "--data.channels=1")
    assert (len(found["mean"]), found["components"]) == (1, [[1.0]])
    np.testing.assert_allclose(found["variances"][0], found["std"][0] ** 2, rtol=1e-10)


def test_a_study_may_be_named_and_other_names_may_not(root: Path) -> None:
    assert statistics.main(["imagenet-depth", f"--data.path={root}", "--data.statistics-images=3"]) == cli.OK
    with pytest.raises(UserError, match=r"'imagenet-dept'"):
        statistics.main(["imagenet-dept"])
