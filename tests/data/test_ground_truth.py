"""Validation images without class folders, as ImageNet's archive has them; and subsets of classes."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from resnet_jax.data import load
from resnet_jax.data.ground_truth import LEAVES, NAMES, OFFICIAL, TABLE
from resnet_jax.data.stream import StreamSource
from resnet_jax.errors import UserError
from tests.data.pictures import streamed, write

LABELS = (2, 0, 1, 1, 2, 0)
# In meta.mat the numbers are not in the order of the names.
NUMBERS = {0: 3, 1: 1, 2: 2}


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six validation images in one folder, whose classes are LABELS by name."""
    root = write(tmp_path / "imagenet", train=2, test=2)
    files = sorted((root / "val").rglob("*.JPEG"))
    for number, (file, _) in enumerate(zip(files, LABELS, strict=True)):
        file.rename(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    for folder in list((root / "val").iterdir()):
        if folder.is_dir():
            folder.rmdir()
    return root


def wnid(label: int) -> str:
    return f"n{label:08d}"


def official(root: Path) -> None:
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / OFFICIAL).write_text("".join(f"{NUMBERS[label]}\n" for label in LABELS))
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    rows = [(NUMBERS[label], wnid(label), "a word") for label in sorted(NUMBERS, key=NUMBERS.__getitem__)]
    rows += [(number, f"n9{number:07d}", "a word") for number in range(4, LEAVES + 80)]  # inner nodes at the end
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=fields).reshape(-1, 1)})


def names(root: Path) -> None:
    (root / NAMES).write_text("".join(f"{wnid(label)}\n" for label in LABELS))


def by_image(root: Path) -> None:
    lines = [f"ILSVRC2012_val_{i:08d},{wnid(label)} 1 2 3 4" for i, label in enumerate(LABELS)]
    (root / TABLE).write_text("\n".join(["ImageId,PredictionString", *reversed(lines)]) + "\n")


@pytest.mark.parametrize("give", [official, names, by_image])
def test_classes_come_from_the_file(root: Path, give: Any) -> None:
    give(root)
    dataset = load(streamed(root))
    assert dataset.class_names == ("n00000000", "n00000001", "n00000002")
    source = dataset.test
    assert isinstance(source, StreamSource)
    found = {Path(source.name(i)).name: int(source.labels[i]) for i in range(6)}
    assert found == {f"ILSVRC2012_val_{i:08d}.JPEG": label for i, label in enumerate(LABELS)}


def refused(root: Path, sentence: str, **changes: Any) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        load(streamed(root, **changes))
    assert len(re.findall(r"\.(?:\s|$)", str(caught.value))) == 1, "one sentence"


def test_what_can_be_wrong_with_it(root: Path) -> None:
    refused(root, f"val has images, but no class folders, and none of the files {OFFICIAL}, {NAMES}, {TABLE}; needed: ")
    names(root)
    (root / "val" / "new").mkdir()
    refused(root, "folders that are not classes of train: new; remove")
    (root / "val" / "new").rmdir()
    (root / NAMES).unlink()
    official(root)
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    whole = (kit / OFFICIAL).read_text()
    (kit / OFFICIAL).write_text(whole + "1\n")
    refused(root, "has 7 lines for 6 images")
    (kit / OFFICIAL).write_text(whole.replace("2", "5000"))
    refused(root, "has '5000'; legal: the numbers of the classes in meta.mat")
    (kit / OFFICIAL).write_text(whole)
    meta = (kit / "meta.mat").read_bytes()
    (kit / "meta.mat").write_bytes(b"no such thing")
    refused(root, r"meta\.mat cannot be read")
    (kit / "meta.mat").unlink()
    refused(root, r"meta\.mat is missing")
    (kit / "meta.mat").write_bytes(meta)
    shutil.rmtree(root / "train" / "n00000002")
    refused(root, "names the class 'n00000002', which is not a class folder of train")


def test_an_image_that_the_table_lacks(root: Path) -> None:
    by_image(root)
    (root / TABLE).write_text((root / TABLE).read_text().replace("00000003", "00000009"))
    refused(root, r"has no line for the image ILSVRC2012_val_00000003\.JPEG")


@pytest.mark.parametrize("flat", [True, False])
def test_a_subset_of_classes(root: Path, tmp_path: Path, flat: bool) -> None:
    if flat:
        names(root)
    else:
        root = write(tmp_path / "folders", train=2, test=2)
    for classes, kept in ((("2",), (0, 1)), (("n00000002", "n00000000"), (0, 2)), ((), (0, 1, 2))):
        dataset = load(streamed(root, classes=classes))
        assert dataset.class_names == tuple(map(wnid, kept))
        for source in (dataset.train, dataset.test):
            np.testing.assert_array_equal(np.bincount(source.labels), [2] * len(kept))
            assert isinstance(source, StreamSource)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (("1",), r"data\.classes: got '1'; legal: 2 to 3, or names of classes"),
        (("4",), r"data\.classes: got '4'; legal: 2 to 3"),
        (("cat",), r"data\.classes: got 'cat'; legal: 2 to 3"),
        (("n00000000", "n0000001"), r"data\.classes: got 'n0000001', which is not a class of the data; did you mean"),
    ],
)
def test_classes_that_are_not_there(tmp_path: Path, classes: tuple[str, ...], sentence: str) -> None:
    root = write(tmp_path / "folders", train=2, test=2)
    with pytest.raises(UserError, match=sentence):
        load(streamed(root, classes=classes))


def test_classes_that_validation_lacks_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "folders", train=1, test=1, classes=60)
    for label in range(10, 60):
        shutil.rmtree(root / "val" / wnid(label))
    refused(root, "only in train: n00000010, n00000011, n00000012 and 47 more")
