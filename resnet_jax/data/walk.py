"""Lists the entries of folders: class folders, the images in them, and files that are left out."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_jax.errors import UserError
from resnet_jax.text import Note, composed, shown, some

# The extensions of the formats in decode.FORMATS.
EXTENSIONS = frozenset(
    [
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    ]
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and what the file system says about it."""

    path: str
    relative: str
    """Path relative to the root of the data set, such as "train/cat/0001.png"."""
    label: int
    """Number of the class, from 0; -1: not known yet."""
    size: int
    """Size in bytes."""
    mtime_ns: int
    ctime_ns: int
    """Time of the last change of the content or the metadata, in nanoseconds; programs cannot set it."""
    inode: int
    """Number of the file on its disk; it stays the same when the file is renamed."""


class PassedOver:
    """Collects the files that a listing leaves out, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        self._names.setdefault(reason, []).append(shown(name))

    def tell(self, root: str, note: Note) -> None:
        """Calls `note` with one sentence about the files left out: for each reason, their number and the first name."""
        counts = [f"{len(names):,} {reason} ({some(names, 1)})" for reason, names in sorted(self._names.items())]
        if counts:
            note(f"passed over in {shown(root)}: {', '.join(counts)}.")


def entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name.

    Raises:
      UserError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{shown(folder)} cannot be listed: {error.strerror}; make it readable.") from error


def has_classes(folder: str) -> bool:
    """Whether a folder contains folders that are not hidden."""
    return any(is_folder(entry) and not entry.name.startswith(".") for entry in entries(folder))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def folders_of(root: str, part: str, aside: PassedOver) -> dict[str, os.DirEntry[str]]:
    """Lists the class folders in root/part, or in `root` if `part` is empty: {name of the class: its folder}.

    Raises:
      UserError: there are no class folders, a name cannot be printed, or two names are equal
        in Unicode's composed form (NFC).
    """
    folder = os.path.join(root, part) if part else root
    classes: dict[str, os.DirEntry[str]] = {}
    for entry in entries(folder):
        relative = f"{part}/{entry.name}" if part else entry.name
        if entry.name.startswith("."):
            aside.add("hidden", relative)
        elif not is_folder(entry):
            aside.add("outside the class folders", relative)
        else:
            if not entry.name.isprintable():
                raise UserError(
                    f"the class folder {shown(entry.path)!r} has characters in its name that cannot be printed; "
                    "rename it."
                )
            name = composed(entry.name)
            if name in classes:
                raise UserError(
                    f"{shown(folder)} has two class folders with the name {name!r}, stored as different Unicode "
                    "characters; rename one, or merge them."
                )
            classes[name] = entry
    if not classes:
        raise UserError(f"{shown(folder)} has no class folders; needed: {f'{part}/' * bool(part)}<class>/<image>.")
    return classes


def images_of(
    folders: Mapping[str, os.DirEntry[str]], names: Sequence[str], part: str, aside: PassedOver
) -> dict[str, list[ImageFile]]:
    """Lists the images of the classes `names`, without labels; raises UserError if a class has none."""
    classes = {}
    for name in names:
        entry = folders[name]
        classes[name] = class_files(entry.path, f"{part}/{entry.name}" if part else entry.name, aside)
        if not classes[name]:
            where = " from training and test" if part else ""
            raise UserError(f"the class folder {shown(entry.path)} has no images; fill it, or remove it{where}.")
    return classes


def class_files(folder: str, relative: str, aside: PassedOver) -> list[ImageFile]:
    """Lists the images of a class folder, without labels. `relative` is the path of the folder in messages."""
    files = []
    for entry in entries(folder):
        below = f"{relative}/{entry.name}"
        if entry.name.startswith("."):
            aside.add("hidden", below)
        elif is_folder(entry):
            aside.add("folders inside a class", below)
        elif may_be_image(entry, below, aside):
            try:
                status = entry.stat()
                told = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            except OSError:  # for example a broken link: reading the image will raise the error
                told = (0, 0, 0, 0)
            files.append(ImageFile(entry.path, below, -1, *told))
    return files


def may_be_image(entry: os.DirEntry[str], relative: str, aside: PassedOver) -> bool:
    """Whether a file has the extension of an image and is a regular file.

    If a link has the extension of an image but cannot be followed, the result is True, and reading the image raises the
    error later. If the result is False, the file is added to `aside`, with the reason.
    """
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
        aside.add("not images by their names", relative)
        return False
    try:
        if not stat.S_ISREG(entry.stat().st_mode):  # opening a pipe would wait for ever
            aside.add("not regular files", relative)
            return False
    except OSError:  # for example a broken link: reading the image will raise the error
        pass
    return True
