"""Measures how fast this project and other loaders load training images from files (read, decode, crop).

All loaders make the paper's training crops: random 224x224 parts (uint8) of an image whose shorter side is resized to
256 to 480 pixels. A loader may crop before it resizes: then it resizes only the part of the image that it needs.
Loaders that are not installed are left out.

| loader                | how it works                                                                     |
|-----------------------|----------------------------------------------------------------------------------|
| this project          | crops, and then resizes the part; timed with files and with array_record (TFDS)  |
| `resize, then crop`   | resizes the whole image with Pillow, and then crops                              |
| `torchvision`         | torchvision's transforms in PyTorch's DataLoader                                 |
| `grain`               | resizes the whole image with Pillow, and then crops, in grain's loader           |
| `tf.data`             | TensorFlow's decoder and transforms                                              |

"The feed alone" is the part of a training run between the disk and the compiled steps, including the transfer to JAX. A
consumer replaces the compiled steps: it takes a batch and then sleeps. First, this project's loader is timed without a
consumer. The sleep is then so long that the consumer asks for 80 % of the measured images per second.
"""

import dataclasses
import importlib.metadata
import importlib.util
import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.benchmark import worker
from experiments.benchmark.peers.loaders import PEERS
from experiments.benchmark.results import FEED, LOADER, STAGE, Row
from resnet_jax.config import DataConfig, ParallelConfig
from resnet_jax.data import Draws, crops, decode, load, threads
from resnet_jax.data.order import announced, training_batches
from resnet_jax.data.stream import StreamSource
from resnet_jax.text import Note

SIZE, SCALES, BATCH, AHEAD = 224, (256, 480), 128, 2
CONSUMER_SHARE = 0.8
ARRAY_RECORD = "ours, array_record"
SAMPLES = 10  # number of measurements of the memory


def measure(
    folder: Path, *, batches: int, feed_batches: int, device_rate: float, note: Note
) -> tuple[list[Row], dict[str, Any]]:
    """Measures how fast the training images of a folder are loaded.

    Three things are timed: each stage of loading (`stages`), each loader, and the feed of a training run.

    Args:
      folder: the images: <folder>/{train,val}/<class>/<image>.
      batches: number of batches of 128 images for each loader.
      feed_batches: number of batches of 128 images for the feed (from the files to arrays on the device).
      device_rate: images per second that a device can train on. The printed table gives the number of CPU cores that
        can feed such a device.
      note: called with a line of text before each measurement.

    Returns:
      The rows of the record, and the facts about machine and versions.

    Raises:
      UserError: the folder cannot be read.
    """
    config = DataConfig(source="folder", path=str(folder), stream=True, image_size=SIZE, crop="scale", scales=SCALES)
    source = load(config, note).train
    assert isinstance(source, StreamSource)
    note("ours")
    rows = [loader_row("ours", ours(source), batches, device_rate)]
    note("the feed alone")
    rate = CONSUMER_SHARE * rows[0]["images"] / rows[0]["wall_s"]
    # A separate process, because other libraries take memory here, and because torchvision's workers must not be forked
    # from a process that uses JAX.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        row, environment = pool.submit(feed_row, config, feed_batches, BATCH, rate).result()
    rows.append(row)
    paths = [source.name(i) for i in range(len(source))]
    if importlib.util.find_spec("tensorflow_datasets") is not None:
        note(ARRAY_RECORD)
        rows.append(array_record_row(config, paths, batches, device_rate, note))
        environment["versions"]["tensorflow_datasets"] = importlib.metadata.version("tensorflow_datasets")
    for name, (module, make) in PEERS.items():
        if module is None or importlib.util.find_spec(module) is not None:
            note(name)
            images = make(paths, SIZE, SCALES, BATCH, threads.cores())
            rows.append(loader_row(name, images, batches, device_rate))
            if module is not None:
                environment["versions"][module] = importlib.metadata.version(module)
    note("the stages")
    spent = stages(config, paths[: batches * BATCH])
    return [{"what": STAGE, "stage": stage, "core_s": s} for stage, s in spent.items()] + rows, environment


def loader_row(name: str, images: Iterator[int], batches: int, device_rate: float) -> Row:
    """Measures how long an image loader takes for `batches` batches; returns a row of the record.

    Before the measurement one batch is loaded, because a loader starts its workers with the first batch. The row has
    the wall-clock seconds, and the CPU seconds (user and system) of this process and its children. Images per CPU
    second do not depend on other programs on the machine.

    Args:
      name: name of the loader.
      images: the loader, which yields the number of images in each batch.
      batches: number of batches to load.
      device_rate: images per second that a device can train on; kept in the row.
    """
    next(images)
    core, wall = _core_seconds(), time.monotonic()
    count = sum(itertools.islice(images, batches))
    wall = time.monotonic() - wall
    close: Callable[[], None] = getattr(images, "close", lambda: None)
    close()
    row: Row = {"what": LOADER, "loader": name, "images": count, "core_s": _core_seconds() - core, "wall_s": wall}
    return row | {"cores": threads.cores(), "device_rate": device_rate}


def array_record_row(config: DataConfig, paths: list[str], batches: int, device_rate: float, note: Note) -> Row:
    """Times loading from a TFDS data set (array_record) that is written for this measurement and then deleted."""
    from experiments.benchmark.peers import array_record

    with tempfile.TemporaryDirectory() as folder:
        chosen = np.linspace(0, len(paths) - 1, min(len(paths), batches * BATCH)).round().astype(int)
        array_record.prepare(Path(folder), [paths[i] for i in chosen.tolist()])
        prepared = dataclasses.replace(config, source="tfds", name=array_record.NAME, path=folder)
        source = load(prepared, note).train
        assert isinstance(source, StreamSource)
        return loader_row(ARRAY_RECORD, ours(source), batches, device_rate)


def feed_row(config: DataConfig, batches: int, batch_size: int, rate: float) -> tuple[Row, dict[str, Any]]:
    """Measures the feed of a training run with a consumer that asks for `rate` images per second.

    Returns:
      A row of the record, and the facts about machine and versions. The row has the fraction of the time in which the
      consumer waited for images. It also has the resident memory (bytes) after each tenth of the batches.
    """
    import jax

    from resnet_jax.training.feed import feed
    from resnet_jax.training.mesh import devices

    where, dataset = devices(ParallelConfig()), load(config)
    environment = worker.environment(ParallelConfig())
    environment["versions"]["pillow"] = importlib.metadata.version("pillow")
    made, source = feed(config, dataset, where, 0), dataset.train
    assert isinstance(source, StreamSource)
    order = announced(
        training_batches(seed=0, examples=len(source), batch_size=batch_size, first_step=0), made.begin_train, AHEAD
    )
    resident: list[int] = []
    jax.block_until_ready(where.shard(made.train(next(order))))
    began, waited = time.monotonic(), source.waited_s
    for i, batch in enumerate(itertools.islice(order, batches), start=1):
        jax.block_until_ready(where.shard(made.train(batch)))
        time.sleep(batch_size / rate)
        if i % max(1, batches // SAMPLES) == 0:
            resident.append(worker.memory("VmRSS") or most_resident())
    row = {
        "what": FEED,
        "batches": batches,
        "batch_size": batch_size,
        "consumer_rate": rate,
        "consumer_share": CONSUMER_SHARE,
        "waited": (source.waited_s - waited) / (time.monotonic() - began),
        "resident_bytes": resident,
        "peak_resident_bytes": most_resident(),
    }
    return row, environment


def stages(config: DataConfig, paths: list[str]) -> dict[str, float]:
    """CPU seconds for one image in each stage (read, decode, crop, copy), in one thread, with a warm file cache."""
    spent = dict.fromkeys(("read", "decode", "crop", "copy"), 0.0)
    for i, path in enumerate(paths):
        marks = [time.thread_time()]
        content = Path(path).read_bytes()
        marks.append(time.thread_time())
        image = decode.upright(content, channels=3)
        marks.append(time.thread_time())
        crop = crops.training_crop(config, 0, 0, i, image.width, image.height)
        cut = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=crop.box)
        marks.append(time.thread_time())
        np.array(cut)
        marks.append(time.thread_time())
        for stage, before, after in zip(spent, marks, marks[1:], strict=False):
            spent[stage] += (after - before) / len(paths)
    return spent


def ours(source: StreamSource) -> Iterator[int]:
    """Loads batches of a streamed source as a training run does; yields the number of images in each batch."""
    order = training_batches(seed=0, examples=len(source), batch_size=BATCH, first_step=0)
    for batch in announced(order, lambda batch: source.begin(batch.index, Draws(0, batch.epoch)), AHEAD):
        yield len(source.take(batch.index, Draws(0, batch.epoch)))


def _core_seconds() -> float:
    usages = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def most_resident() -> int:
    """Peak of the resident memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
