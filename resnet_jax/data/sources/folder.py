"""Loads a data set from a folder of images: <root>/{train,test}/<class>/<image>, or the folders train and val.

listing.py lists the files, and decode.py decodes them. Decoded images are kept in the cache (cache.py) for later runs.
With `data.stream`, images are decoded on demand instead (stream.py).
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig
from resnet_jax.data import cache, crops, decode, headers, memory, progress
from resnet_jax.data.arrays import Array
from resnet_jax.data.dataset import ArraySource, Dataset, Images, Source
from resnet_jax.data.headers import Headers
from resnet_jax.data.listing import Listing, scan
from resnet_jax.data.records import FileRecords
from resnet_jax.data.stream import sources
from resnet_jax.data.threads import Results, in_order
from resnet_jax.errors import UserError
from resnet_jax.files import short_digest
from resnet_jax.text import Note, shown, some

CLASSES_TOLD = 10
IMAGENET_SIZE = 224  # suggested for large images (He et al. 2015, Sec. 3.4)


def load(config: DataConfig, note: Note) -> Dataset:
    """Loads the images below `config.path`: into memory, or as a source that decodes on demand (`config.streamed`).

    Images are sorted by the names of their classes and files. For images in memory, the cache is used if no file has
    changed; otherwise all are decoded. Decoding needs little more memory than the images themselves.

    Raises:
      UserError: the folder does not have the structure that `listing.scan` describes.
      UserError: an image cannot be read, or a class has no readable image.
      UserError: `image_size` is None, and the images to load into memory differ in size.
      UserError: the images need too much memory.
    """
    assert config.path is not None, "checked by DataConfig"
    listing = scan(config.path, config.classes, note)
    name = f"{shown(os.path.basename(os.path.abspath(listing.root)))} (folder)"
    train, test = (_streamed if config.streamed else _in_memory)(_Folder(listing, config, name, note))
    dataset = Dataset(name=name, train=train, test=test, class_names=listing.class_names)
    height, width, channels = dataset.image_shape
    note(
        f"{name}: {len(train):,} training and {len(test):,} test images, {height}x{width}x{channels}, "
        f"{dataset.num_classes:,} classes: {some(dataset.class_names, CLASSES_TOLD)}."
    )
    return dataset


class _Folder:
    """A folder of images while it is read. Training images have the first positions, and test images the next."""

    def __init__(self, listing: Listing, config: DataConfig, name: str, note: Note) -> None:
        self.listing, self.config, self.name, self.note = listing, config, name, note
        self.files = (*listing.train, *listing.test)
        self.labels = np.array([file.label for file in self.files], np.int32)
        self.records = FileRecords(listing.root, self.files)
        self.left_out: dict[int, str] = {}
        self.passing = False
        """Whether an image is left out because of an error that may be temporary."""

    def headers(self, *, keep: bool) -> Headers:
        """Reads the headers of all images; `keep` says whether the cache is used."""
        key = cache.key(self.records.state) if keep else None
        return headers.read(
            self.records.entry, len(self.files), name=self.name, key=key, note=self.note, refuse=self.leave_out
        )

    def leave_out(self, position: int, reason: decode.Unreadable) -> None:
        file = self.files[position]
        if self.config.bad_images == "stop":
            raise UserError(
                f"{shown(file.path)} cannot be read as an image: {reason}; repair it or remove it, or use "
                "--data.bad-images=skip, which leaves such images out."
            )
        self.left_out[position] = f"{shown(file.relative)} ({reason})"
        self.passing |= reason.passing

    def parts(self) -> list[npt.NDArray[np.int64]]:
        """The positions of the training and of the test images that are not left out."""
        kept = np.setdiff1d(np.arange(len(self.files)), list(self.left_out))
        parts = np.split(kept, [int(np.searchsorted(kept, len(self.listing.train)))])
        for part, files in zip(parts, (self.listing.train, self.listing.test), strict=True):
            gone = {file.label for file in files} - set(self.labels[part].tolist())
            if gone:
                first = next(file for file in files if file.label == min(gone))
                raise UserError(
                    f"data.path: no image of the class folder {shown(os.path.dirname(first.path))} can be read, for "
                    f"example {shown(os.path.basename(first.path))}; repair the images, or remove the class from "
                    "training and test."
                )
        return parts

    def channels(self, heads: Headers) -> tuple[int, list[str]]:
        """The number of channels of all images, and a remark if most images are grey but some are in colour."""
        if self.config.channels != "auto":
            return int(self.config.channels), []
        kept = [i for i in range(len(self.files)) if i not in self.left_out]
        colored = [shown(self.files[i].relative) for i in kept if not heads.grey[i]]
        if not colored or 2 * len(colored) > len(kept):
            return (3 if colored else 1), []
        return 3, [
            f"{len(kept) - len(colored):,} of {len(kept):,} images are grey and {len(colored):,} in colour "
            f"({some(colored)}), so all are read in colour; --data.channels=1 reads all in grey."
        ]

    def remarks(self) -> list[str]:
        left_out = [self.left_out[position] for position in sorted(self.left_out)]
        return [f"images that cannot be read, left out: {len(left_out):,} ({some(left_out)})."] if left_out else []


def _streamed(folder: _Folder) -> Sequence[Source]:
    heads, test = folder.headers(keep=True), len(folder.listing.train)
    for position, reason in crops.too_long(folder.config, heads.sizes[test:]).items():
        folder.leave_out(test + position, decode.Unreadable(reason))
    parts = folder.parts()
    channels, remarks = folder.channels(heads)
    for remark in folder.remarks() + remarks:
        folder.note(remark)
    return sources(folder.records, parts, folder.labels, heads, folder.config, channels)


def _in_memory(folder: _Folder) -> Sequence[Source]:
    c, root = folder.config, os.path.realpath(folder.listing.root)
    # There is one cache file for a folder and these settings. It is replaced when the folder changes.
    way = f"{c.image_size} {c.bad_images} {c.channels} {c.classes}"
    digest = short_digest(os.fsencode(root), way.encode())
    file = cache.file(os.path.basename(root), f"{c.image_size or 'as-stored'}-images", digest)
    key = cache.key(folder.records.state, way)
    kept = cache.read(file, key, folder.note)
    if kept is None:
        kept = _decoded(folder)
        if not folder.passing and cache.write(file, key, kept, folder.note):
            folder.note(f"kept for the next run in {shown(str(file))}.")
    for remark in kept["remarks"].tolist():
        folder.note(remark)
    return [ArraySource(kept[f"{part}_images"], kept[f"{part}_labels"]) for part in ("train", "test")]


def _decoded(folder: _Folder) -> dict[str, Array]:
    """Decodes all images. First it reads all headers, for the shape of the arrays and to find errors early."""
    start, size = time.monotonic(), folder.config.image_size
    heads = folder.headers(keep=False)
    parts = folder.parts()
    channels, remarks = folder.channels(heads)
    height, width = (size, size) if size is not None else _stored_size(folder, heads)
    count = sum(map(len, parts))
    memory.require(
        count * height * width * channels,
        f"{count:,} images of {height}x{width}x{channels}",
        f"use a smaller --data.image-size ({'now ' + str(size) if size else 'now not set'}) or fewer images",
    )
    arrays: dict[str, Array] = {}
    with decode.quiet(), progress.progress("decoding", count, folder.note) as advance:
        for name, part in zip(("train", "test"), parts, strict=True):
            images = np.empty((len(part), height, width, channels), np.uint8)
            rows: list[int] = []
            with contextlib.closing(_fill(images, [folder.files[i].path for i in part], size, advance)) as reasons:
                for row, reason in enumerate(reasons):
                    if reason is None:
                        images[len(rows)] = images[row]  # moved in place, because a copy would need twice the memory
                        rows.append(row)
                    else:
                        folder.leave_out(int(part[row]), reason)
            arrays |= {f"{name}_images": images[: len(rows)], f"{name}_labels": folder.labels[part[rows]]}
    folder.parts()
    folder.note(f"decoded {count:,} images in {time.monotonic() - start:.1f} s.")
    return {**arrays, "remarks": np.array(folder.remarks() + remarks, np.str_)}


def _fill(
    images: Images, paths: Sequence[str], size: int | None, advance: Callable[[int], None]
) -> Results[decode.Unreadable | None]:
    """Decodes images into the rows of `images` [N, H, W, C]; yields None or an error for each image, in order."""
    pass_ = None if size is None else crops.Pass(size, size)

    def work(i: int) -> decode.Unreadable | None:
        try:
            (image,) = decode.views(paths[i], pass_, channels=images.shape[3])
        except decode.Unreadable as reason:
            return reason
        if image.shape != images.shape[1:]:
            return decode.Unreadable(f"it is {image.shape[1]}x{image.shape[0]} pixels, but its header has another size")
        images[i] = image
        return None

    return in_order(work, len(paths), advance)


def _stored_size(folder: _Folder, heads: Headers) -> tuple[int, int]:
    """Height and width of the stored images; raises UserError if they differ in size."""
    kept = [i for i in range(len(folder.files)) if i not in folder.left_out]
    first = kept[0]
    for i in kept:
        if (heads.sizes[i] != heads.sizes[first]).any():
            one, other = heads.sizes[first].tolist(), heads.sizes[i].tolist()
            raise UserError(
                f"images differ in size: {shown(folder.files[first].path)} is {one[0]}x{one[1]} pixels and "
                f"{shown(folder.files[i].path)} is {other[0]}x{other[1]}; resize all to one size, for example with "
                f"--data.image-size={min(*one, *other, IMAGENET_SIZE)}."
            )
    width, height = heads.sizes[first].tolist()
    return height, width
