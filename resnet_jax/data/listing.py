"""Lists the images of folders, in order and with their classes. No image is opened.

`scan` lists images for training, `class_folders` for evaluation, and `pictures` for classification. All three follow
symbolic links. They leave out hidden files and files without the extension of an image, and report them to `note`.
ImageNet's validation images may also be in val/ without class folders, as in their archive; see ground_truth.py.
"""

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from resnet_jax.data import ground_truth
from resnet_jax.data.walk import (
    EXTENSIONS,
    ImageFile,
    PassedOver,
    class_files,
    entries,
    folders_of,
    has_classes,
    images_of,
    is_folder,
    may_be_image,
)
from resnet_jax.errors import UserError
from resnet_jax.text import LONGEST, Note, nearest, shown, some

TEST_FOLDERS = ("test", "val")


@dataclass(frozen=True)
class Listing:
    """The images of a data set. Classes, and the images of a class, are sorted by name (by Unicode code points).

    Class names are in Unicode's composed form (NFC), because some systems store "é" as two characters.
    """

    root: str
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]


def scan(path: str, classes: Sequence[str] = (), note: Note = lambda text: None) -> Listing:
    """Lists the images of a data set: <path>/train/<class>/<image> and <path>/test/<class>/<image>.

    If there is no folder test, the folder val is the test set, as in ImageNet.

    Args:
      path: the folder of the data set.
      classes: the value of `data.classes`; see `choose`.
      note: called with each remark, one line of text.

    Raises:
      UserError: a folder is missing, a class has no images, there is only one class, training and test have different
        classes, or `classes` has an unknown name.
    """
    try:
        return _scan(path, classes, note)
    except UserError as error:
        where = "" if str(error).startswith("data.") else "data.path: "
        raise UserError(f"{where}{error}") from error.__cause__


def class_folders(folder: str, note: Note = lambda text: None) -> dict[str, tuple[ImageFile, ...]]:
    """Lists the images <folder>/<class>/<image>: {name of the class: images}, sorted by the name of the class.

    The label of a class is its position in this order. Names are in Unicode's composed form (NFC).

    Raises:
      UserError: the folder is missing, it has no class folders, or a class has no images.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{shown(folder)}: {'not a folder' if os.path.exists(folder) else 'there is no such folder'}.")
    aside = PassedOver()
    folders = folders_of(folder, "", aside)
    classes = images_of(folders, list(folders), "", aside)
    aside.tell(folder, note)
    return {name: _labelled(classes[name], label) for label, name in enumerate(sorted(classes))}


def pictures(paths: Sequence[str], note: Note = lambda text: None) -> list[str]:
    """Lists the images to classify: each file in `paths`, and all images below each folder in `paths`.

    A file in `paths` is listed whatever its extension is.

    Raises:
      UserError: a folder has no images.
    """
    images: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            images.append(path)
            continue
        aside = PassedOver()
        found = _album(path, "", aside, frozenset())
        aside.tell(path, note)
        if not found:
            raise UserError(
                f"{shown(path)}: a folder without images; legal extensions: {', '.join(sorted(EXTENSIONS))}."
            )
        images += found
    return images


def _scan(path: str, chosen: Sequence[str], note: Note) -> Listing:
    root = os.path.expanduser(path)
    if not os.path.isdir(root):
        problem = "it is not a folder" if os.path.exists(root) else "it does not exist"
        raise UserError(f"got {path!r}, but {problem}; give a folder that has train/<class>/ in it.")
    present = {entry.name for entry in entries(root) if is_folder(entry)}
    if "train" not in present:
        raise UserError(f"{shown(root)} has no folder train; {_found(present)}")
    tests = [name for name in TEST_FOLDERS if name in present]
    if not tests:
        raise UserError(f"{shown(root)} has neither a folder test nor a folder val; {_found(present)}")
    if len(tests) > 1:
        # The test images of ImageNet have no labels, and so no class folders.
        labelled = [name for name in tests if has_classes(os.path.join(root, name))]
        tests = labelled or (["val"] if ground_truth.find(root) else tests)
        note(f"{shown(root)} has both test and val: {tests[0]} is used as the test set.")
    aside = PassedOver()
    folders = folders_of(root, "train", aside)
    train = images_of(folders, choose(list(folders), chosen), "train", aside)
    test = _test(root, tests[0], train.keys(), folders.keys(), aside)
    _agree(root, tests[0], set(train), set(test))
    names = sorted(train)
    if len(names) < 2:
        raise UserError(f"{shown(root)} has only one class, {names[0]!r}; a classifier needs at least two.")
    aside.tell(root, note)
    train_files, test_files = (
        tuple(file for label, name in enumerate(names) for file in _labelled(classes[name], label))
        for classes in (train, test)
    )
    return Listing(root, tuple(names), train_files, test_files)


def _found(present: set[str]) -> str:
    there = f"folders there: {some([shown(name) for name in sorted(present)])}" if present else "no folder is there"
    return f"{there}; needed: train/<class>/ and test/<class>/ (or val/<class>/)."


def _test(root: str, part: str, chosen: Set[str], known: Set[str], aside: PassedOver) -> dict[str, list[ImageFile]]:
    """Lists the test images of the chosen classes; `known` has all classes of the training images."""
    folder = os.path.join(root, part)
    files = [entry for entry in entries(folder) if not is_folder(entry) and not entry.name.startswith(".")]
    loose = [entry.name for entry in files if may_be_image(entry, "", PassedOver())]
    if not loose or has_classes(folder):
        folders = folders_of(root, part, aside)
        if loose and not folders.keys() & known:
            raise UserError(
                f"{shown(folder)} has {len(loose):,} images that are not in class folders, and folders that are not "
                f"classes of train: {some([shown(name) for name in folders])}; remove these folders, or sort the "
                f"images into {part}/<class>/."
            )
        # If all classes are chosen, all test folders are listed, so that a class without training images is noticed.
        return images_of(folders, [name for name in folders if name in chosen or chosen == known], part, aside)
    labels = ground_truth.find(root)
    if labels is None:
        raise UserError(
            f"{shown(folder)} has images, but no class folders, and none of the files {', '.join(ground_truth.FILES)}; "
            f"needed: {part}/<class>/<image>, or one of these files."
        )
    classes: dict[str, list[ImageFile]] = {}
    images = class_files(folder, part, aside)
    names = [os.path.basename(image.path) for image in images]
    for file, name in zip(images, ground_truth.classes_of(labels, names), strict=True):
        if name not in known:
            raise UserError(f"{shown(labels)} names the class {name!r}, which is not a class folder of train.")
        if name in chosen:
            classes.setdefault(name, []).append(file)
    return classes


def choose(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Selects classes from `names`, and returns their names in alphabetical order.

    Args:
      names: the names of all classes.
      classes: the value of `data.classes`: names; or one number n, which selects the first n classes in alphabetical
        order; or (), which selects all classes.

    Raises:
      UserError: a name is unknown, or the number is below 2 or larger than the number of classes.
    """
    wanted = sorted(names)
    if len(classes) == 1:
        count = int(classes[0]) if classes[0].isdecimal() else 0
        if not 2 <= count <= len(names):
            raise UserError(f"data.classes: got {classes[0]!r}; legal: 2 to {len(names):,}, or names of classes.")
        return wanted[:count]
    unknown = sorted(set(classes) - set(names))
    if unknown:
        hint = nearest(unknown[0], wanted)
        if len(hint) > LONGEST:
            hint = f"the names of the {len(wanted):,} classes go from {wanted[0]} to {wanted[-1]}."
        raise UserError(f"data.classes: got {unknown[0]!r}, which is not a class of the data; {hint}")
    return [name for name in wanted if name in classes] if classes else wanted


def _album(folder: str, relative: str, aside: PassedOver, above: frozenset[str]) -> list[str]:
    """Lists the images below a folder, at any depth. `above` has the real paths of the folders that contain it."""
    above |= {os.path.realpath(folder)}
    paths = []
    for entry in entries(folder):
        below = os.path.join(relative, entry.name)
        if entry.name.startswith("."):
            aside.add("hidden", below)
        elif not is_folder(entry):
            if may_be_image(entry, below, aside):
                paths.append(entry.path)
        elif os.path.realpath(entry.path) in above:
            aside.add("links to a folder that contains them", below)
        else:
            paths += _album(entry.path, below, aside, above)
    return paths


def _agree(root: str, test: str, train_names: set[str], test_names: set[str]) -> None:
    if train_names == test_names:
        return
    sides = [("train", train_names - test_names), (test, test_names - train_names)]
    only = ", ".join(f"only in {part}: {some(sorted(names))}" for part, names in sides if names)
    raise UserError(f"train and {test} of {shown(root)} must have the same classes; {only}.")


def _labelled(files: Sequence[ImageFile], label: int) -> tuple[ImageFile, ...]:
    return tuple(replace(file, label=label) for file in files)
