"""From image files to what a net takes, against Pillow's own resizing and numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data import Normalization
from resnet_jax.data.decode import Unreadable
from resnet_jax.errors import UserError
from resnet_jax.weights.preprocessing import Preprocessing, from_json, per_channel

COLOURS = per_channel(8, 6)


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (24, 16), **options: object) -> Image.Image:
    rng = np.random.default_rng(0)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.integers(0, 256, (size[1], size[0], bands), np.uint8)
    image = Image.fromarray(pixels.squeeze(2) if bands == 1 else pixels, mode if mode != "CMYK" else "CMYK")
    image.save(path, **options)
    return image


def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    resized = image.resize((12, 8), Image.Resampling.BILINEAR)  # 24x16: the shorter side to 8
    expected = np.asarray(resized)[1:7, 3:9]
    np.testing.assert_array_equal(COLOURS.read(str(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "1", "P"])
def test_every_kind_of_picture_becomes_the_net_s(mode: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{'jpg' if mode == 'CMYK' else 'png'}"
    stored = picture(file, mode) if mode in ("L", "RGBA", "CMYK") else picture(tmp_path / "b.png").convert(mode)
    stored.save(file)
    found = COLOURS.read(str(file))
    assert found.shape == (6, 6, 3)
    with Image.open(file) as reopened:
        expected = np.asarray(reopened.convert("RGB").resize((12, 8), Image.Resampling.BILINEAR))[1:7, 3:9]
    np.testing.assert_array_equal(found, expected)
    grey = per_channel(8, 6, (0.5,), (0.5,))
    assert grey.read(str(file)).shape == (6, 6, 1)


def test_a_rotated_picture_is_turned_upright(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    upright = image.transpose(Image.Transpose.ROTATE_270).resize((8, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(COLOURS.read(str(tmp_path / "turned.png")), np.asarray(upright)[3:9, 1:7])


def test_a_picture_of_one_pixel_is_that_colour_everywhere(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "a.png")
    assert (COLOURS.read(str(tmp_path / "a.png")) == [10, 20, 30]).all()


def test_without_resizing_only_the_net_s_size_will_do(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    plain = Preprocessing(None, 16, 24, 3, COLOURS.normalization)
    assert plain.read(str(tmp_path / "a.png")).shape == (16, 24, 3)
    other = Preprocessing(None, 5, 4, 3, COLOURS.normalization)
    with pytest.raises(Unreadable, match="it is 24x16 pixels, and this net takes only 4x5"):
        other.read(str(tmp_path / "a.png"))
    four = Preprocessing(8, 8, 8, 4, Normalization(np.zeros((1, 1, 1, 4)), np.ones((1, 1, 1, 4))))
    with pytest.raises(Unreadable, match="images of 4 channels"):
        four.read(str(tmp_path / "a.png"))


def test_json_has_the_numbers_and_gives_them_back() -> None:
    values = COLOURS.to_json()
    assert values == {
        "resize": 8,
        "interpolation": "bilinear",
        "height": 6,
        "width": 6,
        "channels": 3,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    back = from_json(values, {})
    assert back.to_json() == values
    with pytest.raises(UserError, match=r"preprocessing\.depth: no such field"):
        from_json({**values, "depth": 3}, {})
