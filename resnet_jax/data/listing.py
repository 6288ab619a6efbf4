"""Which images a folder has, in what order, and of what classes; nothing is opened here.

`<root>/train/<class>/` and `<root>/test/<class>/`, or `<root>/val/<class>/` (ImageNet's layout) where there is no test.
ImageNet's validation images may also lie in `<root>/val/` as they are in their archive, see ground_truth.py.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from resnet_jax.data import ground_truth
from resnet_jax.errors import UserError
from resnet_jax.text import nearest

EXTENSIONS = frozenset([".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"])
TEST_FOLDERS = ("test", "val")
NEAREST = 10_000  # names among which the nearest to a wrong one is looked for
NAMED = 3  # names given in a message; the rest is counted


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image, as the file system describes it."""

    path: str
    relative: str
    """Below the root, such as "train/cat/0001.png"."""
    label: int
    size: int
    """In bytes."""
    mtime_ns: int
    ctime_ns: int
    """When anything about the file was last changed; unlike `mtime_ns` no program can set it."""
    inode: int
    """The file's number on its disk, which it keeps where it is renamed or moved."""


@dataclass(frozen=True)
class Listing:
    """What a folder has. Classes, and the images of a class, are in the order of their names' code points.

    Names of classes are in Unicode's composed form (NFC): some systems store "é" as two characters, and training and
    test may come from two of them.
    """

    root: str
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    notes: tuple[str, ...]
    """Sentences on what was passed over."""


def scan(path: str, classes: Sequence[str] = ()) -> Listing:
    """Lists the images of a folder.

    Symbolic links are followed. Hidden entries, folders inside a class and files that are not images by their name
    are passed over and counted.

    Args:
      path: the folder.
      classes: as `data.classes`; see `choose`.

    Raises:
      UserError: the folder, its training or its test part is missing, a class is empty, there is only one class,
        the classes of training and test differ, or `classes` names one that there is not.
    """
    root = os.path.expanduser(path)
    if not os.path.isdir(root):
        problem = "it is not a folder" if os.path.exists(root) else "it does not exist"
        raise UserError(f"data.path: got {path!r}, but {problem}; give a folder that has train/<class>/ in it.")
    present = {entry.name for entry in _entries(root) if _is_folder(entry)}
    if "train" not in present:
        raise UserError(f"data.path: {shown(root)} has no folder train; {_found(present)}")
    tests = [name for name in TEST_FOLDERS if name in present]
    if not tests:
        raise UserError(f"data.path: {shown(root)} has neither a folder test nor a folder val; {_found(present)}")
    notes = []
    if len(tests) > 1:
        # ImageNet's own test images have no labels, so they lie in no class folders.
        labelled = [name for name in tests if _classes(os.path.join(root, name))]
        tests = labelled or (["val"] if ground_truth.find(root) else tests)
        notes.append(f"{shown(root)} has both test and val: {tests[0]} serves as the test set.")
    aside: Counter[str] = Counter()
    there = _class_folders(root, "train", aside)
    chosen = choose(list(there), classes)
    train = _images(there, chosen, "train", aside)
    test = _test(root, tests[0], train.keys(), there.keys(), aside)
    _agree(root, tests[0], set(train), set(test))
    names = sorted(train)
    if len(names) < 2:
        raise UserError(f"data.path: {shown(root)} has only one class, {names[0]!r}; a classifier needs at least two.")
    if aside:
        counts = ", ".join(f"{count:,} {what}" for what, count in sorted(aside.items()))
        notes.append(f"passed over in {shown(root)}: {counts}.")
    return Listing(root, tuple(names), _files(train, names), _files(test, names), tuple(notes))


def shown(path: str) -> str:
    """A path as text that any terminal can print: bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def some(names: Sequence[str], most: int = NAMED) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _found(present: set[str]) -> str:
    there = f"folders there: {some([shown(name) for name in sorted(present)])}" if present else "no folder is there"
    return f"{there}; needed: train/<class>/ and test/<class>/ (or val/<class>/)."


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"data.path: {shown(folder)} cannot be listed: {error.strerror}; make it readable.") from error


def _classes(folder: str) -> list[str]:
    return [entry.name for entry in _entries(folder) if _is_folder(entry) and not entry.name.startswith(".")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _test(root: str, part: str, chosen: Set[str], known: Set[str], aside: Counter[str]) -> dict[str, list[ImageFile]]:
    """The test images of the chosen classes, by class; `known` are all classes of the training part."""
    folder = os.path.join(root, part)
    if _classes(folder):
        there = _class_folders(root, part, aside)
        # All of them where all are wanted, so that a class without training images is noticed.
        wanted = list(there) if chosen == known else [name for name in there if name in chosen]
        return _images(there, wanted, part, aside)
    found = _class_files(folder, part, aside)
    labels = ground_truth.find(root) if found else None
    if labels is None:
        has = f"images, but no class folders, and no {ground_truth.OFFICIAL}" if found else "no class folders"
        raise UserError(f"data.path: {shown(folder)} has {has}; needed: {part}/<class>/<image>.")
    classes: dict[str, list[ImageFile]] = {}
    names = [os.path.basename(file.path) for file in found]
    for file, name in zip(found, ground_truth.classes_of(labels, names), strict=True):
        if name not in known:
            raise UserError(f"data.path: {shown(labels)} names the class {name!r}, which is no class folder of train.")
        if name in chosen:
            classes.setdefault(name, []).append(file)
    return classes


def choose(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The class names that `data.classes` wants, sorted: all, those that it names, or the first so many.

    Raises:
      UserError: it names a class that there is not, or more classes than there are, or only one.
    """
    wanted = sorted(names)
    if len(classes) == 1:
        count = int(classes[0]) if classes[0].isdecimal() else 0
        if not 2 <= count <= len(names):
            raise UserError(f"data.classes: got {classes[0]!r}; legal: 2 to {len(names):,}, or names of classes.")
        return wanted[:count]
    unknown = sorted(set(classes) - set(names))
    if unknown:
        close = nearest(unknown[0], wanted[:NEAREST])
        raise UserError(f"data.classes: got {unknown[0]!r}, which the data have not; {close}")
    return [name for name in wanted if name in classes] if classes else wanted


def _class_folders(root: str, part: str, aside: Counter[str]) -> dict[str, os.DirEntry[str]]:
    """The folder of each class, by the class's name."""
    folder = os.path.join(root, part)
    classes: dict[str, os.DirEntry[str]] = {}
    for entry in _entries(folder):
        if entry.name.startswith("."):
            aside["hidden"] += 1
        elif not _is_folder(entry):
            aside["files outside the class folders"] += 1
        else:
            if not entry.name.isprintable():
                raise UserError(
                    f"data.path: the class folder {shown(entry.path)!r} has characters in its name that cannot be "
                    "printed; rename it."
                )
            name = unicodedata.normalize("NFC", entry.name)
            if name in classes:
                raise UserError(
                    f"data.path: {shown(folder)} has two class folders whose names both read {name!r}, written with "
                    "different Unicode characters; rename one, or merge them."
                )
            classes[name] = entry
    if not classes:
        raise UserError(f"data.path: {shown(folder)} has no class folders; needed: {part}/<class>/<image>.")
    return classes


def _images(
    folders: Mapping[str, os.DirEntry[str]], names: Sequence[str], part: str, aside: Counter[str]
) -> dict[str, list[ImageFile]]:
    """The images of each class, their labels not yet known."""
    classes = {}
    for name in names:
        entry = folders[name]
        classes[name] = _class_files(entry.path, f"{part}/{entry.name}", aside)
        if not classes[name]:
            raise UserError(
                f"data.path: the class folder {shown(entry.path)} has no images; fill it, or remove it "
                "from training and test."
            )
    return classes


def _class_files(folder: str, relative: str, aside: Counter[str]) -> list[ImageFile]:
    files = []
    for entry in _entries(folder):
        if entry.name.startswith("."):
            aside["hidden"] += 1
        elif _is_folder(entry):
            aside["folders inside a class"] += 1
        elif os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
            aside["files that are not images"] += 1
        else:
            try:
                status = entry.stat()
                told = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                    aside["files that are not images"] += 1
                    continue
            except OSError:  # a link to nothing: an image that cannot be read, which its reader will say
                told = (0, 0, 0, 0)
            files.append(ImageFile(entry.path, f"{relative}/{entry.name}", -1, *told))
    return files


def _agree(root: str, test: str, train_names: set[str], test_names: set[str]) -> None:
    if train_names == test_names:
        return
    sides = [("train", train_names - test_names), (test, test_names - train_names)]
    only = ", ".join(f"only in {part}: {some(sorted(names))}" for part, names in sides if names)
    raise UserError(f"data.path: train and {test} of {shown(root)} must have the same classes; {only}.")


def _files(classes: dict[str, list[ImageFile]], names: list[str]) -> tuple[ImageFile, ...]:
    return tuple(replace(file, label=label) for label, name in enumerate(names) for file in classes[name])
