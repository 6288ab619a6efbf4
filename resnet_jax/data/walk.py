"""Entries of a folder: class folders, the images in them, and files that are left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_jax.errors import UserError
from resnet_jax.text import Note, composed, shown, some

# Those of decode.FORMATS.
EXTENSIONS = frozenset(
    [
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    ]
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image, as the file system describes it."""

    path: str
    relative: str
    """Below the root, such as "train/cat/0001.png"."""
    label: int
    size: int
    """Size in bytes."""
    mtime_ns: int
    ctime_ns: int
    """When anything about the file was last changed; unlike `mtime_ns` no program can set it."""
    inode: int
    """The file's number on its disk, which it keeps where it is renamed or moved."""


class PassedOver:
    """Files that a listing leaves out, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        self._names.setdefault(reason, []).append(shown(name))

    def tell(self, root: str, note: Note) -> None:
        """Gives `note` a sentence with the number of entries for each reason, and the first of them."""
        counts = [f"{len(names):,} {reason} ({some(names, 1)})" for reason, names in sorted(self._names.items())]
        if counts:
            note(f"passed over in {shown(root)}: {', '.join(counts)}.")


def entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder, by name.

    Raises:
      UserError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{shown(folder)} cannot be listed: {error.strerror}; make it readable.") from error


def has_classes(folder: str) -> bool:
    """Whether a folder has folders that are not hidden."""
    return any(is_folder(entry) and not entry.name.startswith(".") for entry in entries(folder))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def folders_of(root: str, part: str, aside: PassedOver) -> dict[str, os.DirEntry[str]]:
    """The folder of each class in a part of a folder, or in the folder itself, by the class's name."""
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
                    f"{shown(folder)} has two class folders whose names both read {name!r}, written with "
                    "different Unicode characters; rename one, or merge them."
                )
            classes[name] = entry
    if not classes:
        raise UserError(f"{shown(folder)} has no class folders; needed: {f'{part}/' * bool(part)}<class>/<image>.")
    return classes


def images_of(
    folders: Mapping[str, os.DirEntry[str]], names: Sequence[str], part: str, aside: PassedOver
) -> dict[str, list[ImageFile]]:
    """The images of each of these classes; their labels are not yet known."""
    classes = {}
    for name in names:
        entry = folders[name]
        classes[name] = class_files(entry.path, f"{part}/{entry.name}" if part else entry.name, aside)
        if not classes[name]:
            where = " from training and test" if part else ""
            raise UserError(f"the class folder {shown(entry.path)} has no images; fill it, or remove it{where}.")
    return classes


def class_files(folder: str, relative: str, aside: PassedOver) -> list[ImageFile]:
    """The images of one class's folder; their labels are not yet known."""
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
            except OSError:  # a link to nothing: an image that cannot be read, which its reader will say
                told = (0, 0, 0, 0)
            files.append(ImageFile(entry.path, below, -1, *told))
    return files


def may_be_image(entry: os.DirEntry[str], relative: str, aside: PassedOver) -> bool:
    """Whether an entry that is no folder is an image by its name; if not, it is passed over."""
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
        aside.add("not images by their names", relative)
        return False
    try:
        if not stat.S_ISREG(entry.stat().st_mode):  # opening a pipe would wait for ever
            aside.add("not regular files", relative)
            return False
    except OSError:  # a link to nothing: its reader will say so
        pass
    return True
