"""A folder of images as a data set: <root>/{train,test}/<class>/<image>, or ImageNet's train and val.

Where the images are is `listing`'s matter, pixels are `decode`'s, `cache` makes the second start fast, and `stream`
keeps no pixels in memory at all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

import numpy as np

from resnet_jax.config import DataConfig
from resnet_jax.data import cache, decode, headers, memory, progress
from resnet_jax.data.cache import Contents
from resnet_jax.data.dataset import ArraySource, Dataset, Images, Source
from resnet_jax.data.listing import Listing, scan
from resnet_jax.data.records import FileRecords
from resnet_jax.data.stream import Decoders, StreamSource
from resnet_jax.data.walk import ImageFile
from resnet_jax.errors import UserError
from resnet_jax.text import Note, shown, some

CLASSES_TOLD = 10
IMAGENET_SIZE = 224  # suggested for large images (He et al. 2015, Sec. 3.4)


def load(config: DataConfig, note: Note) -> Dataset:
    """The images below `config.path`, in memory or, with `config.streamed`, decoded when they are asked for.

    The order is that of the classes' and files' names. Images have `config.channels` channels.

    Raises:
      UserError: the folder is not as `listing.scan` needs it, an image cannot be read, or a class has no readable
        image. For images in memory also: sizes differ and no image_size is given, or they need more than there is.
    """
    assert config.path is not None, "checked by DataConfig"
    if not config.streamed:
        return read(
            config.path,
            image_size=config.image_size,
            bad_images=config.bad_images,
            note=note,
            classes=config.classes,
            channels=config.channels,
        )
    listing, name = _listed(config.path, config.classes, note)
    train, test = _streamed(listing, config, name, note)
    return _dataset(listing, name, train, test, note)


def read(
    path: str,
    *,
    image_size: int | None,
    bad_images: str,
    note: Note,
    classes: Sequence[str] = (),
    channels: int | str = "auto",
) -> Dataset:
    """The images below `path`, decoded, or from the cache if nothing has changed since they were.

    Memory: the arrays themselves and little more.

    Args:
      path: the folder; see `listing.scan`.
      image_size: height and width in pixels that every image is resized to; None: all have one size already.
      bad_images: "stop" at an image that cannot be read, or "skip" it.
      note: is told, a line at a time, of the classes, of what is passed over or left out, and of the cache.
      classes, channels: as `data.classes` and `data.channels`.

    Raises:
      UserError: as `load`.
    """
    assert bad_images in ("stop", "skip")
    listing, name = _listed(path, classes, note)
    contents = _kept_or_decoded(listing, image_size, bad_images, channels, note)
    _note_left_out(contents.left_out, note)
    if contents.remark:
        note(contents.remark)
    return _dataset(listing, name, contents.train, contents.test, note)


def _listed(path: str, classes: Sequence[str], note: Note) -> tuple[Listing, str]:
    """What the folder has, and its name for people."""
    listing = scan(path, classes)
    for remark in listing.notes:
        note(remark)
    return listing, f"{shown(os.path.basename(os.path.abspath(listing.root)))} (folder)"


def _dataset(listing: Listing, name: str, train: Source, test: Source, note: Note) -> Dataset:
    dataset = Dataset(name=name, train=train, test=test, class_names=listing.class_names)
    height, width, channels = dataset.image_shape
    note(
        f"{name}: {len(dataset.train):,} training and {len(dataset.test):,} test images, {height}x{width}x{channels}, "
        f"{dataset.num_classes:,} classes: {some(dataset.class_names, CLASSES_TOLD)}."
    )
    return dataset


def _note_left_out(left_out: Sequence[str], note: Note) -> None:
    if left_out:
        note(f"images that cannot be read, left out: {len(left_out):,} ({some(left_out)}).")


def _streamed(listing: Listing, config: DataConfig, name: str, note: Note) -> tuple[StreamSource, StreamSource]:
    """Training and test images that are decoded on demand, once the headers of all have been read."""
    files = (*listing.train, *listing.test)
    records = FileRecords(listing.root, files)
    key = headers.digest(cache.fingerprint(files, image_size=None, bad_images=config.bad_images))
    heads = headers.read(records.entry, len(files), name=name, key=key, note=note)
    skip = config.bad_images == "skip"
    _note_left_out([_bad(files[i], reason, skip) for i, reason in heads.unreadable.items()], note)
    readable = np.array([i for i in range(len(files)) if i not in heads.unreadable], np.int64)
    labels = np.array([file.label for file in files], np.int32)
    parts = np.split(readable, [int(np.searchsorted(readable, len(listing.train)))])
    _require_classes(listing, *([files[i] for i in part] for part in parts))
    channels, remark = _channels(config.channels, [files[i] for i in readable], heads.grey[readable].tolist())
    if remark:
        note(remark)
    decoders = Decoders.of(config)
    train, test = (
        StreamSource(
            records,
            part,
            labels[part],
            heads.sizes[part],
            config=config,
            channels=channels,
            decoders=decoders,
        )
        for part in parts
    )
    return train, test


def _kept_or_decoded(
    listing: Listing, image_size: int | None, bad_images: str, channels: int | str, note: Note
) -> Contents:
    """From the cache, or else decoded and put there.

    Images that are stored at `image_size` are the same resized or not, and are kept once, as stored.
    """
    files = (*listing.train, *listing.test)
    try:
        kept = {
            size: (
                cache.place(listing.root, image_size=size, bad_images=bad_images, channels=channels),
                cache.fingerprint(files, image_size=size, bad_images=bad_images, channels=channels),
            )
            for size in (None, image_size)
        }
    except OSError as error:
        note(f"{error}, so the decoded images are not kept for the next start.")
        kept = {}
    for place, key in kept.values():
        contents = cache.read(place, key, note, side=image_size)
        if contents is not None:
            return contents
    contents, as_stored = _decoded(listing, image_size, bad_images == "skip", channels, note)
    if kept:
        place, key = kept[None if as_stored else image_size]
        cache.write(place, key, contents, note)
    return contents


def _decoded(listing: Listing, size: int | None, skip: bool, chosen: int | str, note: Note) -> tuple[Contents, bool]:
    """Two passes: over the headers, for the arrays' shape and early errors, and over the pixels.

    Gives with the images whether they are as stored, none of them resized.
    """
    files = (*listing.train, *listing.test)
    start = time.monotonic()
    passes = ("looking at images", "decoding images")
    line = f"decoding {len(files):,} images."
    with decode.quiet(), progress.progress(passes, len(files), line, note) as advance:
        left_out: list[str] = []
        readable: list[ImageFile] = []
        heads: list[decode.Header] = []
        # With a size given, the shape does not depend on the images' own, nor on which way up they are.
        found = decode.headers([file.path for file in files], upright=size is None, advance=advance)
        with contextlib.closing(found):
            for file, head in zip(files, found, strict=True):
                if isinstance(head, decode.Unreadable):
                    left_out.append(_bad(file, head, skip))
                else:
                    readable.append(file)
                    heads.append(head)
        train = [file for file in readable if file.relative.startswith("train/")]
        test = readable[len(train) :]
        _require_classes(listing, train, test)
        channels, remark = _channels(chosen, readable, [head.grey for head in heads])
        shape = (*_sides(readable, heads, size), channels)
        _require_memory(len(files), shape, size)
        as_stored = all((head.height, head.width) == shape[:2] for head in heads)
        splits = []
        for part in (train, test):
            images = np.empty((len(part), *shape), np.uint8)
            reasons = decode.fill(images, [file.path for file in part], size=size, advance=advance)
            kept = []
            with contextlib.closing(reasons):
                for i, reason in enumerate(reasons):
                    if reason is None:
                        kept.append(i)
                    else:
                        left_out.append(_bad(part[i], reason, skip))
            part[:] = [part[i] for i in kept]
            labels = np.array([file.label for file in part], np.int32)
            splits.append(ArraySource(_close_gaps(images, kept), labels))
    _require_classes(listing, train, test)
    note(f"decoded {len(files):,} images in {time.monotonic() - start:.1f} s.")
    return Contents(splits[0], splits[1], tuple(left_out), remark), as_stored


def _bad(file: ImageFile, reason: object, skip: bool) -> str:
    """The line for an image left out; with `skip` off, the end of the run."""
    if not skip:
        raise UserError(
            f"{shown(file.path)} cannot be read as an image: {reason}; mend it or remove it, or use "
            "--data.bad-images=skip, which leaves such images out."
        )
    return f"{shown(file.relative)} ({reason})"


def _require_classes(listing: Listing, train: Sequence[ImageFile], test: Sequence[ImageFile]) -> None:
    for files, all_files in ((train, listing.train), (test, listing.test)):
        gone = {file.label for file in all_files} - {file.label for file in files}
        if gone:
            first = next(file for file in all_files if file.label == min(gone))
            raise UserError(
                f"data.path: no image of the class folder {shown(os.path.dirname(first.path))} can be read, such as "
                f"{shown(os.path.basename(first.path))}; mend them, or remove the class from training and test."
            )


def _channels(chosen: int | str, files: Sequence[ImageFile], grey: Sequence[bool]) -> tuple[int, str]:
    """The channels that all images will have, and a remark where most are grey and a few make all of them colour."""
    if chosen != "auto":
        return int(chosen), ""
    colored = [shown(file.relative) for file, is_grey in zip(files, grey, strict=True) if not is_grey]
    if not colored or 2 * len(colored) > len(files):
        return (3 if colored else 1), ""
    return 3, (
        f"{len(files) - len(colored):,} of {len(files):,} images are grey and {len(colored):,} in colour "
        f"({some(colored)}), so all are read in colour; --data.channels=1 reads all in grey."
    )


def _sides(files: Sequence[ImageFile], heads: Sequence[decode.Header], size: int | None) -> tuple[int, int]:
    """Height and width that all images will have."""
    if size is not None:
        return size, size
    first = heads[0]
    for file, head in zip(files, heads, strict=True):
        if (head.height, head.width) != (first.height, first.width):
            short = min(first.height, first.width, head.height, head.width, IMAGENET_SIZE)
            raise UserError(
                f"images differ in size: {shown(files[0].path)} is {first.width}x{first.height} pixels and "
                f"{shown(file.path)} is {head.width}x{head.height}; have all resized to one size, "
                f"such as --data.image-size={short}."
            )
    return first.height, first.width


def _require_memory(count: int, shape: tuple[int, int, int], size: int | None) -> None:
    height, width, channels = shape
    memory.require(
        count * height * width * channels,
        f"{count:,} images of {height}x{width}x{channels}",
        f"have them resized to less with --data.image-size ({'now ' + str(size) if size else 'now not set'}), "
        "or use a folder with fewer images",
    )


def _close_gaps(images: Images, kept: Sequence[int]) -> Images:
    """The rows that were decoded, moved up in place: a copy would double the memory."""
    for new, old in enumerate(kept):
        if new != old:
            images[new] = images[old]
    return images[: len(kept)]
