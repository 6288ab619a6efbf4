"""Which pictures a folder holds: one rule for training, evaluation and classification."""

import os
from pathlib import Path

import pytest

from resnet_jax.data import listing
from resnet_jax.errors import UserError

ENDINGS = ("png", "JPG", "jpeg", "jpe", "jfif", "webp", "avif", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set in whose class "cat" lies what file managers, notebooks and archives leave behind."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}.png").write_bytes(b"x")
            (folder / "._000.png").write_bytes(b"x")
        (tmp_path / part / "cat" / ".ipynb_checkpoints").mkdir()
        (tmp_path / part / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes(b"x")
        (tmp_path / part / "cat" / "notes.txt").write_text("x")
    return tmp_path


def test_all_commands_see_the_same_pictures(root: Path) -> None:
    trained = [file.path for file in listing.scan(str(root)).test]
    evaluated = [file.path for files in listing.class_folders(str(root / "test")).values() for file in files]
    classified = listing.pictures([str(root / "test")])
    assert trained == evaluated == classified
    assert len(trained) == 6


def test_what_is_passed_over_is_said_with_the_reason(root: Path) -> None:
    said = "3 hidden (cat/._000.png and 2 more), 1 not images by their names (cat/notes.txt)."
    folder = str(root / "test")
    told: list[str] = []
    listing.class_folders(folder, told.append)
    listing.pictures([folder], told.append)
    listing.scan(str(root), note=told.append)
    assert told[:2] == [f"passed over in {folder}: {said}"] * 2
    assert told[2].startswith(f"passed over in {root}: 6 hidden (train/cat/._000.png and 5 more), 2 not images")


def test_a_link_to_nothing_is_a_picture_that_cannot_be_read(root: Path) -> None:
    (root / "test" / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    assert str(root / "test" / "dog" / "gone.png") in [file.path for file in listing.scan(str(root)).test]
    assert len(listing.class_folders(str(root / "test"))["dog"]) == 4
    assert str(root / "test" / "dog" / "gone.png") in listing.pictures([str(root / "test")])


def test_every_ending_of_a_format_that_is_read_is_an_image(tmp_path: Path) -> None:
    for ending in ENDINGS:
        (tmp_path / f"a.{ending}").write_bytes(b"x")
    told: list[str] = []
    assert len(listing.pictures([str(tmp_path)], told.append)) == len(ENDINGS)
    assert told == []


def test_an_album_is_entered_at_any_depth_and_through_links(tmp_path: Path) -> None:
    album, elsewhere = tmp_path / "album", tmp_path / "elsewhere"
    for folder in (album / "b" / "deep", elsewhere):
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(b"x")
    (album / "a").symlink_to(elsewhere)
    (album / "b" / "deep" / "up").symlink_to(album)
    told: list[str] = []
    found = listing.pictures([str(album), "named.whatever"], told.append)
    assert found == [str(album / "a" / "0.png"), str(album / "b" / "deep" / "0.png"), "named.whatever"]
    (note,) = told
    assert note.startswith(f"passed over in {album}: 1 ")
    assert "(b/deep/up)" in note


def test_labels_are_positions_of_names_in_composed_unicode(tmp_path: Path) -> None:
    for name in ("zebra", "e\u0301lan"):  # as macOS writes it; composed it comes after "zebra"
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"x")
    found = listing.class_folders(str(tmp_path))
    assert list(found) == ["zebra", "\u00e9lan"]
    assert [files[0].label for files in found.values()] == [0, 1]


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda root: root.rmdir(), "there is no such folder"),
        (lambda root: None, "has no class folders; needed: <class>/<image>"),
        (lambda root: (root / "cat").mkdir(), r"the class folder .*cat has no images; fill it, or remove it\.$"),
        (lambda root: (root / "a\x07").mkdir(), "characters in its name that cannot be printed"),
    ],
)
def test_folders_that_cannot_be_evaluated(prepare: object, sentence: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    prepare(root)  # type: ignore[operator]
    with pytest.raises(UserError, match=sentence):
        listing.class_folders(str(root))


def test_an_album_without_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"a folder without images; legal extensions: \.avif, "):
        listing.pictures([str(tmp_path)])
