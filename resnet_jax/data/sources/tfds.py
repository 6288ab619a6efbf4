"""Loads a data set of TensorFlow Datasets (TFDS), without TensorFlow.

The data set must have been prepared in the format array_record. The command `python -m experiments.prepare NAME` does
this, with TensorFlow. Images are always decoded by Pillow, so that pixels do not depend on the installed libraries. The
pixels of a JPEG image may differ by a few grey levels from those that TensorFlow decodes.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from resnet_jax.config import DataConfig
from resnet_jax.data import cache, crops, decode, headers, listing, memory, progress, tfds_files, threads
from resnet_jax.data.dataset import ArraySource, Dataset, Images
from resnet_jax.data.stream import sources
from resnet_jax.data.tfds_files import FEATURES, NAMES
from resnet_jax.data.tfds_records import TfdsRecords
from resnet_jax.errors import UserError
from resnet_jax.text import Note

DISPLAY = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "svhn_cropped": "SVHN (cropped)",
}


def load(config: DataConfig, note: Note) -> Dataset:
    """Loads the splits "train" and "test" of a prepared data set, or "train" and "validation" if there is no "test".

    Images are in the order of TFDS. EXIF orientations are applied, in contrast to TensorFlow.

    Images are loaded into memory. If `config.streamed` is True, they are decoded on demand instead. Then every example
    is read once before the first step, for its label and the size of its image; the cache keeps these for later runs.

    Args:
      config: `config.name` is a name of TFDS, such as "cifar10"; without a version, the highest prepared version is
        used. `config.path` is the data directory of TFDS; None: its usual directory.
      note: called with each remark, one line of text.

    Raises:
      UserError: the data set is unknown, not prepared as array_record, or damaged.
      UserError: the examples are not 8-bit images with class labels, or there is no split for testing.
      UserError: the images to load into memory differ in size.
    """
    assert config.name is not None, "checked by DataConfig"
    prepared = _open(config.name, config.path, note)
    records = TfdsRecords(prepared.builder, prepared.splits)
    records.allow_open_files()
    dataset = (_streamed if config.streamed else _in_memory)(prepared, records, config, note)
    shape = "x".join(map(str, dataset.image_shape))
    note(
        f"{prepared.display} {prepared.builder.version}: {len(dataset.train):,} training and {len(dataset.test):,} "
        f"test images, {shape}, {dataset.num_classes} classes, from {prepared.directory}."
    )
    return dataset


@dataclass(frozen=True)
class _Prepared:
    """A prepared data set whose files are complete."""

    builder: Any
    directory: Path
    display: str
    splits: tuple[str, str]
    """Names of the splits for training and for testing."""
    counts: tuple[int, int]
    channels: int
    class_names: tuple[str, ...]
    remedy: str
    """Advice about a damaged data set, as the end of a sentence."""

    def refuse(self, image: str, why: decode.Unreadable) -> NoReturn:
        raise UserError(f"{image} cannot be read as an image: {why}; {self.remedy}.") from why


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
            f"{directory / NAMES}: has {len(class_names):,} names, but {FEATURES} has {classes:,} classes; {remedy}."
        )
    splits = builder.info.splits
    test = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test is None:
        raise UserError(
            f"{wanted}: it has the splits {', '.join(splits)}; needed: train, and either test or validation."
        )
    display = DISPLAY.get(wanted.dataset, wanted.dataset) + (f" ({wanted.config})" if wanted.config else "")
    if test != "test":
        note(f"{display}: TFDS has no split test; the split {test} is used for testing instead.")
    train, tested = (int(splits[split].num_examples) for split in ("train", test))
    if not train or not tested:
        raise UserError(f"{directory}: the split {test if train else 'train'} is empty.")
    if not (directory / NAMES).is_file():
        note(f"{display}: no names of the classes are stored (there is no {directory / NAMES}); numbers are used.")
    return _Prepared(builder, directory, display, ("train", test), (train, tested), channels, class_names, remedy)


def _streamed(prepared: _Prepared, records: TfdsRecords, config: DataConfig, note: Note) -> Dataset:
    channels = prepared.channels if config.channels == "auto" else config.channels
    if channels not in (1, 3):
        raise UserError(
            f"{prepared.directory}: its images have {channels} channels, but --data.stream=True supports only 1 or 3; "
            "--data.channels=3 reads them in colour."
        )

    def refuse(position: int, why: decode.Unreadable) -> None:
        prepared.refuse(records.name(position), why)

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
        raise UserError(f"{records.name(int(parts[1][position]))} cannot be used: {why}.")
    train, test = sources(records, parts, labels, heads, config, channels)
    return Dataset(name=prepared.display, train=train, test=test, class_names=tuple(ordered))


def _in_memory(prepared: _Prepared, records: TfdsRecords, config: DataConfig, note: Note) -> Dataset:
    count, labels = len(records), np.empty(len(records), np.int32)

    def pixels(i: int) -> Images:
        try:
            content, labels[i] = records.example(i)
            found: Images = decode.views(content, None, channels=prepared.channels)[0]
        except decode.Unreadable as why:
            prepared.refuse(records.name(i), why)
        return found

    first = pixels(0)
    memory.require(
        count * first.size,
        f"{prepared.directory}: {count:,} images of {'x'.join(map(str, first.shape))}",
        "use --data.stream=True and --data.image-size, which decode images on demand",
    )
    images = np.empty((count, *first.shape), np.uint8)

    def work(i: int) -> None:
        image = pixels(i)
        if image.shape != first.shape:
            sizes = [f"{shape[1]}x{shape[0]} pixels" for shape in (first.shape, image.shape)]
            raise UserError(
                f"{prepared.directory}: images differ in size: the first is {sizes[0]} and {records.name(i)} is "
                f"{sizes[1]}; to crop all to one size, use --data.stream=True with --data.image-size."
            )
        images[i] = image

    with (
        decode.quiet(),
        progress.progress(f"reading {prepared.display}", count, note) as advance,
        contextlib.closing(threads.in_order(work, count, advance)) as done,
    ):
        for _ in done:
            pass
    train = prepared.counts[0]
    return Dataset(
        name=prepared.display,
        train=ArraySource(images[:train], labels[:train]),
        test=ArraySource(images[train:], labels[train:]),
        class_names=prepared.class_names,
    )
