"""How fast are images made? Reading, decoding and cropping for the paper's training augmentation, beside other loaders.

All make the same kind of image: a shorter side drawn from 256 to 480 pixels, a random 224x224 crop, uint8. Ours crops
first. "resize, then crop" is the naive order with Pillow alone, "torchvision" its DataLoader and transforms, "grain"
its loader and "tf.data" TensorFlow's own decoder; each of these takes part where it is installed.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from experiments.benchmark.peers.loaders import PEERS
from resnet_jax.config import DataConfig
from resnet_jax.data import Draws, crops, decode, load, threads
from resnet_jax.data.order import announced, training_batches
from resnet_jax.data.stream import StreamSource
from resnet_jax.files import write_atomically

SIZE, SCALES, BATCH, AHEAD = 224, (256, 480), 64, 2


@dataclass(frozen=True)
class Speed:
    """How fast one loader was."""

    name: str
    images: int
    core_s: float
    """Processor seconds of this process and its ended children, user and system together."""
    wall_s: float

    @property
    def per_core(self) -> float:
        """Images for each processor second: it does not depend on what else the machine does."""
        return self.images / self.core_s

    @property
    def per_second(self) -> float:
        """Images for each second of the clock, with all workers."""
        return self.images / self.wall_s


def main(folder: Path, *, batches: int, device_rate: float, out: Path | None) -> None:
    """Measures on the training images of a folder; prints the stages, the loaders and the cores that a device needs.

    Args:
      folder: <folder>/{train,val}/<class>/<image>.
      batches: of 64 images, for each loader.
      device_rate: images that a device takes in a second.
      out: JSON file for the numbers.

    Raises:
      UserError: the folder cannot be read.
    """
    console = Console(highlight=False)
    config = DataConfig(source="folder", path=str(folder), stream=True, image_size=SIZE, crop="scale", scales=SCALES)
    source = load(config, console.print).train
    assert isinstance(source, StreamSource)
    loaders: dict[str, Callable[[], Iterator[int]]] = {"ours": lambda: ours(source)}
    paths = [source.name(i) for i in range(len(source))]
    for name, (module, make) in PEERS.items():
        if module is None or importlib.util.find_spec(module) is not None:
            loaders[name] = functools.partial(make, paths, SIZE, SCALES, BATCH, threads.cores())
    stages = measure_stages(config, paths[: batches * BATCH])
    speeds = [measure(name, make(), batches) for name, make in loaders.items()]
    table = Table("stage", "ms an image", "share", box=None)
    for stage, seconds in stages.items():
        table.add_row(stage, f"{1e3 * seconds:.2f}", f"{seconds / sum(stages.values()):.0%}")
    console.print(table)
    table = Table("loader", "images / core s", "images / s", f"cores for {device_rate:,.0f} images / s", box=None)
    for speed in speeds:
        needed = f"{device_rate / speed.per_core:.1f}"
        table.add_row(speed.name, f"{speed.per_core:.0f}", f"{speed.per_second:.0f}", needed)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    console.print(f"{threads.cores()} cores; largest memory of this process {peak / 1e6:,.0f} MB.")
    if out is not None:
        found = {"stages_s": stages, "loaders": [asdict(speed) for speed in speeds], "peak_bytes": peak}
        write_atomically(out, json.dumps({**found, "cores": threads.cores()}, indent=1) + "\n")


def measure(name: str, images: Iterator[int], batches: int) -> Speed:
    """Takes so many batches of a loader, after a first one that starts its workers."""
    next(images)
    core, wall, count = _core_seconds(), time.monotonic(), 0
    for _ in range(batches):
        count += next(images)
    wall = time.monotonic() - wall
    close: Callable[[], None] = getattr(images, "close", lambda: None)
    close()
    return Speed(name, count, _core_seconds() - core, wall)


def measure_stages(config: DataConfig, paths: list[str]) -> dict[str, float]:
    """Processor seconds an image of each stage, in one thread, from a warm file cache."""
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
    """A streamed source as the feed asks it."""
    order = training_batches(seed=0, examples=len(source), batch_size=BATCH, first_step=0)
    for batch in announced(order, lambda batch: source.begin(batch.index, Draws(0, batch.epoch)), AHEAD):
        yield len(source.take(batch.index, Draws(0, batch.epoch)))


def _core_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
