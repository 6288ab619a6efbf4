"""The grid of images: any channels and any names are drawn, and a picture is written whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import preview
from experiments.studies import experiments
from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.reports.figures import images

RNG = np.random.default_rng(0)


def grid(channels: int = 3, title: str = "cat", heading: str = "pets") -> Any:
    return images.image_grid(RNG.random((2, 5, 4, channels)), [title, "dog"], heading)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_any_number_of_channels_is_drawn(tmp_path: Path, channels: int) -> None:
    pixels = RNG.random((2, 5, 4, channels))
    figure = images.image_grid(pixels, ["cat", "dog"], "pets")
    for axes, image in zip(figure.axes, pixels, strict=False):
        (drawn,) = axes.get_images()
        np.testing.assert_array_equal(drawn.get_array(), image[..., :3] if channels >= 3 else image[..., 0])
    assert images.save(figure, tmp_path / "x.png")


def test_names_are_no_formulas(tmp_path: Path) -> None:
    assert images.save(grid(title="a $x^$ b", heading="$x^$"), tmp_path / "x.png")


@pytest.mark.parametrize("ending", ["png", "svg", "PDF", "jpg"])
def test_characters_that_the_font_lacks_are_told_without_warnings(tmp_path: Path, ending: str) -> None:
    assert not images.save(grid(title="\u732b"), tmp_path / f"x.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{ending}"]


def test_an_older_picture_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(b"older")

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as part:
            part.write(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        images.save(grid(), file)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [file]


def test_a_batch_of_a_run_is_drawn_or_refused_as_the_run_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = experiments()["digits-plain"]
    preview.write_batch(config, tmp_path / "new" / "batch.png")
    assert (tmp_path / "new" / "batch.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"{tmp_path}/new/batch.png\n")
    with pytest.raises(UserError, match=r"model\.num_classes: got 5; legal: 10"):
        preview.write_batch(override(config, {"model.num_classes": 5}), tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()
