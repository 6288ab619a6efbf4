"""A data set of TensorFlow Datasets (TFDS) by name, read without TensorFlow.

Only a prepared data set is read, in the format array_record; `python -m experiments.prepare NAME` makes one, with
TensorFlow. Images are decoded by Pillow, whatever other decoders are installed, so that pixels do not depend on them; a
JPEG's may differ by a few grey levels from what TensorFlow makes of it.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data import cache, crops, decode, headers, listing, memory, progress, tfds_files
from resnet_jax.data.dataset import ArraySource, Dataset, Images
from resnet_jax.data.stream import sources
from resnet_jax.data.tfds_files import FEATURES, MODES, NAMES, SUPPORTED
from resnet_jax.data.tfds_records import TfdsRecords
from resnet_jax.errors import UserError
from resnet_jax.text import Note, reason

DISPLAY = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "svhn_cropped": "SVHN (cropped)",
}
FORMATS = ("PNG", "JPEG", "GIF", "BMP")  # those of TFDS's images
CHUNK = 1000


def load(config: DataConfig, note: Note) -> Dataset:
    """The data set that `config` names, in memory or, with `config.streamed`, decoded when it is asked for.

    For streaming every example is read once before the first step, for its label and the size of its image; these are
    kept for the next start. An orientation in an image's EXIF data is applied, which TensorFlow does not do.

    Raises:
      UserError: as `read`, where images may differ in size if they are streamed.
    """
    assert config.name is not None, "checked by DataConfig"
    if not config.streamed:
        return read(config.name, data_dir=config.path, note=note)
    prepared = _open(config.name, config.path, note)
    return _told(prepared, _streamed(prepared, config, note), note)


def read(name: str, *, data_dir: str | None, note: Note) -> Dataset:
    """The splits "train" and "test" of a prepared data set; "validation" stands in where there is no "test".

    Images are [N, H, W, C] uint8 in TFDS's order, C as TFDS declares it. Memory: the arrays themselves and little
    more.

    Args:
      name: as TFDS has it, such as "cifar10"; without a version, the highest that is prepared.
      data_dir: where TFDS keeps prepared data; None: TFDS's usual place.
      note: is told, a line at a time, what is read from where.

    Raises:
      UserError: no such data set, not prepared or not as array_record, a damaged directory, or data of another kind:
        no images with labels, images of different sizes or not of 8 bits, no split to test on.
    """
    prepared = _open(name, data_dir, note)
    with progress.progress(f"reading {prepared.display}", sum(prepared.counts), note) as advance:
        train, test = (_read(prepared, split, advance) for split in prepared.splits)
    dataset = Dataset(name=prepared.display, train=train, test=test, class_names=prepared.class_names)
    return _told(prepared, dataset, note)


def _told(prepared: _Prepared, dataset: Dataset, note: Note) -> Dataset:
    shape = "x".join(map(str, dataset.image_shape))
    note(
        f"{prepared.display} {prepared.builder.version}: {len(dataset.train):,} training and {len(dataset.test):,} "
        f"test images, {shape}, {dataset.num_classes} classes, from {prepared.directory}."
    )
    return dataset


@dataclass(frozen=True)
class _Prepared:
    """A data set on the disk that was found whole."""

    builder: Any
    directory: Path
    display: str
    splits: tuple[str, str]
    """For training and for testing."""
    counts: tuple[int, int]
    channels: int
    class_names: tuple[str, ...]
    remedy: str
    """What to do where it is damaged, as the end of a sentence."""


def _open(name: str, data_dir: str | None, note: Note) -> _Prepared:
    wanted = tfds_files.Name.parse(name)
    directory = tfds_files.find(wanted, data_dir)
    if directory is None:
        raise UserError(tfds_files.not_prepared(wanted, data_dir))
    builder = tfds_files.open_prepared(directory, wanted, data_dir)
    channels, class_names = tfds_files.features(wanted, builder.info)
    classes = int(builder.info.features["label"].num_classes)
    remedy = tfds_files.again(wanted, data_dir, directory)
    if len(class_names) != classes:  # which TFDS takes as it comes
        raise UserError(
            f"{directory / NAMES}: has {len(class_names):,} names, {FEATURES} says {classes:,} classes; {remedy}."
        )
    splits = builder.info.splits
    test = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test is None:
        raise UserError(
            f"{wanted}: it has the splits {', '.join(splits)}; needed are train, and test or validation to test on."
        )
    display = DISPLAY.get(wanted.dataset, wanted.dataset) + (f" ({wanted.config})" if wanted.config else "")
    if test != "test":
        note(f"{display}: TFDS has no split test; the split {test} is tested on instead.")
    train, tested = (int(splits[split].num_examples) for split in ("train", test))
    if not train or not tested:
        raise UserError(f"{directory}: the split {test if train else 'train'} is empty.")
    if not (directory / NAMES).is_file():
        note(f"{display}: no names of the classes are stored (there is no {directory / NAMES}); their numbers serve.")
    return _Prepared(builder, directory, display, ("train", test), (train, tested), channels, class_names, remedy)


def _streamed(prepared: _Prepared, config: DataConfig, note: Note) -> Dataset:
    """The images of the chosen classes, decoded on demand; a class keeps its place among the chosen ones."""
    channels = prepared.channels if config.channels == "auto" else config.channels
    if channels not in (1, 3):
        raise UserError(
            f"{prepared.directory}: its images have {channels} channels, and images that are decoded on demand have 1 "
            "or 3; --data.channels=3 reads them in colour."
        )
    records = TfdsRecords(prepared.builder, prepared.splits)
    records.allow_open_files()

    def refuse(position: int, why: decode.Unreadable) -> None:
        raise UserError(f"{records.name(position)} cannot be read as an image: {why}; {prepared.remedy}.")

    key = cache.key("tfds", records.state)
    heads = headers.read(records.entry, len(records), name=prepared.display, key=key, note=note, refuse=refuse)
    records.checksums = heads.checksums
    low, high = int(heads.labels.min()), int(heads.labels.max())
    if low < 0 or high >= len(prepared.class_names):
        raise UserError(
            f"{prepared.display}: it has labels from {low} to {high}; legal: 0 to {len(prepared.class_names) - 1}, for "
            f"{len(prepared.class_names)} classes."
        )
    names = listing.choose(prepared.class_names, config.classes)
    ordered = [name for name in prepared.class_names if name in names]
    numbers = np.full(len(prepared.class_names), -1, np.int32)
    numbers[[prepared.class_names.index(name) for name in ordered]] = np.arange(len(ordered))
    labels = numbers[heads.labels]
    parts = [part[labels[part] >= 0] for part in np.split(np.arange(len(records)), [prepared.counts[0]])]
    for position, why in crops.too_long(config, heads.sizes[parts[1]]).items():
        raise UserError(f"{records.name(int(parts[1][position]))} cannot be shown to a net: {why}.")
    train, test = sources(records, parts, labels, heads, config, channels)
    return Dataset(name=prepared.display, train=train, test=test, class_names=tuple(ordered))


def _read(prepared: _Prepared, split: str, advance: Callable[[int], None]) -> ArraySource:
    """The images [N, H, W, channels] and labels [N] of one split."""
    builder, channels, directory, remedy = prepared.builder, prepared.channels, prepared.directory, prepared.remedy
    # Undecoded: TFDS would take OpenCV where it is installed.
    skip = {"image": tensorflow_datasets.decode.SkipDecoding()}
    source = builder.as_data_source(split=split, decoders=skip)
    count = len(source)
    images: Images = np.empty((0, 0, 0, channels), np.uint8)  # made when the first image tells the size
    labels = np.empty((count,), np.int32)
    for start in range(0, count, CHUNK):
        chunk = range(start, min(start + CHUNK, count))
        try:
            examples = source.__getitems__(chunk)
        except Exception as error:  # a checksum that is wrong, or an example that is not what features.json says
            place = _shards(builder.info.splits[split], chunk)
            raise UserError(f"{place}: damaged, its examples cannot be read ({reason(error)}); {remedy}.") from error
        for i, example in zip(chunk, examples, strict=True):
            try:
                pixels = _decode(example["image"], channels)
            except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises at a broken image
                place = _shards(builder.info.splits[split], [i])
                raise UserError(f"{place}: image {i:,} of {split} cannot be decoded ({error}); {remedy}.") from error
            if i == 0:
                memory.require(
                    count * pixels.size,
                    f"{directory}: {count:,} images of {'x'.join(map(str, pixels.shape))}",
                    "--data.stream=True with --data.image-size decodes them when they are asked for",
                )
                images = np.empty((count, *pixels.shape), np.uint8)
            if pixels.shape != images.shape[1:]:
                sizes = [f"{shape[1]}x{shape[0]}" for shape in (images.shape[1:], pixels.shape)]
                raise UserError(
                    f"{directory}: images differ in size, image 0 of {split} is {sizes[0]} pixels and image {i:,} is "
                    f"{sizes[1]}; {SUPPORTED} (others: --data.stream=True with --data.image-size "
                    "crops them to one size)."
                )
            images[i], labels[i] = pixels, example["label"]
        advance(len(chunk))
    return ArraySource(images, labels)


def _decode(encoded: bytes, channels: int) -> Images:
    """The pixels [H, W, channels] of a PNG or JPEG; an image with other channels is converted, as TensorFlow does."""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        pixels = np.asarray(image if image.mode == MODES[channels] else image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _shards(split: Any, examples: Sequence[int]) -> str:
    """The file, or files, that hold these examples of a split."""
    ends = list(accumulate(split.shard_lengths))
    files = [str(split.filepaths[bisect_right(ends, i)]) for i in (examples[0], examples[-1])]
    return " or ".join(dict.fromkeys(files))
