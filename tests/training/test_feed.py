"""Where the images lie changes nothing; a validation set keeps the test set for the end."""

from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ParallelConfig, override
from resnet_jax.data import load, normalization
from resnet_jax.data.augment import augment, draw, normalize
from resnet_jax.data.order import training_batches
from resnet_jax.record import read_metrics
from resnet_jax.training import feed as feed_lib
from resnet_jax.training.assemble import run_keys
from resnet_jax.training.feed import FromHost, OnDevice, feed
from resnet_jax.training.mesh import devices
from resnet_jax.training.program import Program
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL

SHORT = override(SMALL, {"train.iterations": 14, "data.pad": 1, "data.flip": True})


def test_host_and_device_give_the_same_run(tmp_path: Path) -> None:
    records = {
        placement: run(override(SHORT, {"data.placement": placement}), tmp_path / placement, study="test")
        for placement in ("device", "host")
    }
    assert records["device"].final == records["host"].final
    lines = [(tmp_path / placement / "metrics.jsonl").read_bytes() for placement in records]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(("memory", "kind"), [(230_000.0, OnDevice), (229_000.0, FromHost)])
def test_auto_keeps_images_on_the_device_up_to_half_of_it(
    memory: float, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1,797 digits of 64 bytes: 115,008, half of 230,016... and the half of 230,000 is just too little.
    monkeypatch.setattr(feed_lib, "_memory", lambda device: memory + 100)
    chosen = feed(SHORT.data, load(SHORT.data), devices(SHORT.parallel), SHORT.seed)
    assert isinstance(chosen, kind)
    assert ("on the host" in chosen.place) == (kind is FromHost)


def test_the_memory_of_a_cpu_is_what_the_machine_has_free() -> None:
    assert 1e8 < feed_lib._memory(jax.devices()[0]) < 1e14


def test_with_a_validation_set_the_test_set_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []
    original: Any = Program.evaluate

    def noting(self: Program, state: Any, split: str) -> Any:
        evaluated.append(split)
        return original(self, state, split)

    monkeypatch.setattr(Program, "evaluate", noting)
    config = override(SHORT, {"data.validation": 200, "train.iterations": 25})
    record = run(config, tmp_path / "run", study="test")
    assert evaluated.count("test") == 1
    assert evaluated[-1] == "train"
    assert evaluated[:2] == ["validation", "validation"]
    assert record.final is not None
    assert (record.final.train_examples, record.final.validation_examples, record.final.test_examples) == (
        1237,
        200,
        360,
    )
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line.test_error is None for line in lines] == [True, True, False]
    assert all(line.validation_error is not None for line in lines)


def test_a_subset_trains_on_that_many(tmp_path: Path) -> None:
    record = run(override(SHORT, {"data.train_subset": 100, "train.iterations": 2}), tmp_path / "run", study="test")
    assert record.data.train_examples == 100
    assert record.final is not None
    assert record.final.train_examples == 100


@pytest.mark.parametrize("placement", ["device", "host"])
def test_any_devices_and_mode_see_the_same_images_in_the_same_order(placement: Any) -> None:
    """The augmented images themselves, through feed, sharding and the step's own augmentation, over an epoch's end."""
    data = override(SHORT, {"data.placement": placement}).data
    dataset = load(data)
    stats = normalization(dataset.train, data)
    mean, std = (np.asarray(x, np.float32) for x in (stats.mean, stats.std))
    _, run_key = run_keys(seed=3)
    seen = {}
    for mode, count in (("jit", 1), ("jit", 2), ("jit", 8), ("shard_map", 8), ("pmap", 2)):
        where = devices(ParallelConfig(mode=mode, devices=count))  # type: ignore[arg-type]
        source = feed(data, dataset, where, 0)

        def images_of(
            state: Any, at: Any, key: Any, *fixed: Any, source: Any = source, axis: Any = where.axis_name
        ) -> Any:
            batch = source.train_batch(at, *fixed)
            images = normalize(batch.images, jnp.asarray(mean), jnp.asarray(std))
            images = augment(images, key, batch.epoch, batch.example, pad=data.pad, flip=data.flip)
            out = images, batch.labels
            return out if axis is None else jax.lax.all_gather(out, axis, tiled=True)

        key, state = where.replicate(run_key), where.replicate_state(np.float32(0))
        batches = list(islice(training_batches(seed=3, examples=1437, batch_size=128, first_step=10), 3))
        assert {0, 1} == {int(e) for batch in batches for e in batch.epoch}
        placed = [where.shard(source.train(batch)) for batch in batches]
        compiled = where.compile(images_of, state, placed[0], key, *source.fixed, donate_state=False)
        seen[mode, count] = [where.fetch(compiled(state, at, key, *source.fixed)) for at in placed]
    # What they should be, by NumPy, from the order and the draws.
    for batch, (images, labels) in zip(batches, seen["jit", 1], strict=True):
        offsets, flips = draw(run_key, jnp.asarray(batch.epoch), jnp.asarray(batch.index), pad=1)
        np.testing.assert_array_equal(labels, dataset.train.labels[batch.index])
        normalised = dataset.train.images[batch.index] / np.float32(255.0) - mean
        for image, got, (row, column), flip in zip(
            normalised, images, np.asarray(offsets), np.asarray(flips), strict=True
        ):
            crop = np.pad(image, ((1, 1), (1, 1), (0, 0)))[row : row + 8, column : column + 8]
            np.testing.assert_allclose(got, crop[:, ::-1] if flip else crop, atol=1e-6)
    for outcome in seen.values():
        jax.tree.map(np.testing.assert_array_equal, outcome, seen["jit", 1])
