"""From image files to pixels: they are Pillow's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data import decode, threads
from tests.data.folders import first, load, noise, pillow, put

pytestmark = pytest.mark.usefixtures("cache_home")


def palette(h: int, w: int) -> Image.Image:
    image = Image.fromarray(noise(h, w)).convert("P")
    image.putpalette(noise(256, 3).tobytes())
    return image


COLOUR: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "RGB": ("png", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB JPEG": ("JPG", lambda: Image.fromarray(noise(7, 9, 3)), {"quality": 80}),
    "RGB WebP": ("webp", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB BMP": ("bmp", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB PPM": ("ppm", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB with a transparent colour": ("png", lambda: Image.fromarray(noise(7, 9, 3)), {"transparency": (1, 2, 3)}),
    "RGBA": ("png", lambda: Image.fromarray(noise(7, 9, 4)), {}),
    "RGBA WebP": ("webp", lambda: Image.fromarray(noise(7, 9, 4)), {"lossless": True}),
    "RGBA TIFF": ("tiff", lambda: Image.fromarray(noise(7, 9, 4)), {}),
    "P": ("png", lambda: palette(7, 9), {}),
    "P with a transparent colour": ("png", lambda: palette(7, 9), {"transparency": 5}),
    "P with alpha": ("png", lambda: palette(7, 9), {"transparency": bytes(range(256))}),
    "P GIF": ("gif", lambda: palette(7, 9), {}),
    "CMYK JPEG": ("jpeg", lambda: Image.fromarray(noise(7, 9, 4)).convert("RGB").convert("CMYK"), {}),
    "CMYK TIFF": ("tif", lambda: Image.frombytes("CMYK", (9, 7), noise(7, 9, 4).tobytes()), {}),
    "YCbCr TIFF": ("tif", lambda: Image.frombytes("YCbCr", (9, 7), noise(7, 9, 3).tobytes()), {}),
}
GREY: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "L": ("png", lambda: Image.fromarray(noise(7, 9)), {}),
    "L JPEG": ("jpg", lambda: Image.fromarray(noise(7, 9)), {}),
    "L PPM": ("ppm", lambda: Image.fromarray(noise(7, 9)), {}),
    "L with a transparent grey": ("png", lambda: Image.fromarray(noise(7, 9)), {"transparency": 5}),
    "1": ("png", lambda: Image.fromarray(noise(7, 9) > 127), {}),
    "LA": ("png", lambda: Image.frombytes("LA", (9, 7), noise(7, 9, 2).tobytes()), {}),
}


def ten(tmp_path: Path, form: tuple[str, Callable[[], Image.Image], dict[str, Any]]) -> tuple[Path, list[Path]]:
    """Ten images of a form, in two classes, training and test."""
    extension, make, options = form
    names = [f"{part}/{c}/{i}.{extension}" for part, n in (("train", 4), ("test", 1)) for c in "ab" for i in range(n)]
    return tmp_path / "ten", [put(tmp_path / "ten", name, make(), **options) for name in names]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # of Pillow's, in the expectation
@pytest.mark.parametrize("form", COLOUR)
def test_ten_colour_images_equal_pillows_own(tmp_path: Path, form: str) -> None:
    root, paths = ten(tmp_path, COLOUR[form])
    data = load(root)
    assert data.image_shape == (7, 9, 3)
    expected = np.stack([pillow(path, "RGB") for path in paths])
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images]), expected)


@pytest.mark.parametrize("form", GREY)
def test_ten_grey_images_equal_pillows_own(tmp_path: Path, form: str) -> None:
    root, paths = ten(tmp_path, GREY[form])
    data = load(root)
    assert data.image_shape == (7, 9, 1)
    expected = np.stack([pillow(path, "L") for path in paths])
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images])[..., 0], expected)


@pytest.mark.parametrize("extension", ["png", "tif", "ppm"])
def test_16_bit_grey_is_scaled(tmp_path: Path, extension: str) -> None:
    # By hand: 255 * 257 = 65535; 128 / 257 is just below a half, 129 / 257 just above; 0x1234 / 257 = 18.13.
    values = np.array([[0, 128, 129, 257], [0x1234, 385, 386, 65535]], np.uint16)
    expected = [[0, 0, 1, 1], [18, 1, 2, 255]]
    for name in ("train/a", "train/b", "test/a", "test/b"):
        put(tmp_path / "deep", f"{name}/0.{extension}", values)
    assert first(load(tmp_path / "deep"))[..., 0].tolist() == expected
    # Beside one colour image grey ones become colour too.
    put(tmp_path / "deep", "test/b/1.png", noise(2, 4, 3))
    image = first(load(tmp_path / "deep"))
    assert image.shape == (2, 4, 3)
    assert (image == np.array(expected)[..., None]).all()


def test_every_16_bit_value_is_rounded() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = decode._eight_bits(Image.fromarray(values), "L")
    np.testing.assert_array_equal(np.asarray(image), np.rint(values / 257.0))


def test_grey_among_colour_becomes_colour(root: Path) -> None:
    grey = noise(4, 6)
    put(root, "train/cat/0.png", grey)
    np.testing.assert_array_equal(first(load(root)), np.repeat(grey[..., None], 3, axis=2))


def test_of_an_animation_the_first_frame_is_taken(root: Path) -> None:
    frames = [Image.fromarray(noise(4, 6)) for _ in range(3)]
    put(root, "train/cat/0.gif", frames[0], save_all=True, append_images=frames[1:])
    (root / "train/cat/0.png").unlink()
    np.testing.assert_array_equal(first(load(root))[..., 1], np.asarray(frames[0]))


def test_the_content_decides_whatever_the_name_says(root: Path) -> None:
    pixels = noise(4, 6, 3)
    put(root, "train/cat/0.png", pixels).rename(root / "train/cat/0.JPEG")
    np.testing.assert_array_equal(first(load(root)), pixels)


# What each EXIF orientation asks for, in NumPy.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_exif_orientation_is_applied(root: Path, orientation: int, extension: str) -> None:
    upright = noise(4, 6, 3)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(UPRIGHT[inverse](upright))
    (root / "train/cat/0.png").unlink()
    put(root, f"train/cat/0.{extension}", stored, exif=exif)
    # Without a size all must be 4x6: so the header's size is the upright one too.
    np.testing.assert_array_equal(first(load(root)), upright)
    assert first(load(root, size=4)).tolist() == upright[:, 1:5].tolist()


def test_damaged_exif_data_do_no_harm(root: Path) -> None:
    put(root, "train/cat/0.jpg", exif=b"Exif\0\0garbage that is no TIFF header")
    load(root)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(40, 61, 16), (61, 40, 16), (16, 16, 16), (16, 21, 16), (5, 7, 16), (33, 33, 8)]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_resizing_is_pillows_bilinear_and_the_middle(
    tmp_path: Path, height: int, width: int, size: int, mode: str
) -> None:
    image = palette(height, width) if mode == "P" else Image.fromarray(noise(height, width, 3)).convert(mode)
    for name in ("train/a", "train/b", "test/a", "test/b"):
        put(tmp_path / "big", f"{name}/0.png", image)
    got = first(load(tmp_path / "big", size=size))
    # torchvision's Resize: the longer side rounded down.
    w, h = (size, size * height // width) if width < height else (size * width // height, size)
    resized = image.convert("L" if mode == "L" else "RGB").resize((w, h), Image.Resampling.BILINEAR)
    whole = np.asarray(resized).reshape(h, w, -1)
    top, left = round((h - size) / 2), round((w - size) / 2)
    np.testing.assert_array_equal(got, whole[top : top + size, left : left + size])


def test_images_of_all_sizes_can_be_resized(root: Path) -> None:
    put(root, "train/cat/0.png", noise(50, 20, 3))
    assert load(root, size=4).image_shape == (4, 4, 3)


def test_more_images_than_a_chunk_keep_their_order(tmp_path: Path) -> None:
    count = 2 * threads.CHUNK + 5
    for name in ("train/a", "train/b", "test/a", "test/b"):
        for i in range(count if name == "train/a" else 1):
            put(tmp_path / "many", f"{name}/{i:03}.png", np.full((1, 1), i, np.uint8))
    data = load(tmp_path / "many")
    assert data.train.images[:count].ravel().tolist() == list(range(count))
