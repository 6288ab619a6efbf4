"""Evaluation by the papers' protocols: what is seen of each image, that each counts once, and what is averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from resnet_jax.data import load
from resnet_jax.data.crops import Pass, offsets, resized, whole
from resnet_jax.data.protocols import probabilities
from resnet_jax.data.stream import StreamSource
from resnet_jax.models.resnet import build
from resnet_jax.record import read_metrics
from resnet_jax.training.program import prepare
from resnet_jax.training.run import run
from tests.data.pictures import streamed, write

TEN: dict[str, Any] = {"protocol": "ten_crop"}
SCALES: dict[str, Any] = {"protocol": "multi_scale", "eval_scales": (20, 28), "eval_multiple": 8}


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures", test=7)


def test_source(config: DataConfig) -> StreamSource:
    source = load(config).test
    assert isinstance(source, StreamSource)
    return source


test_source.__test__ = False  # type: ignore[attr-defined]


def stored(root: Path, source: StreamSource, position: int) -> Image.Image:
    with Image.open(source._records.name(int(source._positions[position]))) as image:
        return image.convert("RGB")


def test_ten_crops_are_the_centre_the_corners_and_their_mirrors(root: Path) -> None:
    source, config = test_source(streamed(root, **TEN)), streamed(root, **TEN)
    seen: list[np.ndarray] = []

    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return np.ones((len(images), 3))

    probabilities(source, config, predict, classes=3, batch_size=5)  # one image, five crops of it
    assert len(seen) == len(source)
    for position in (0, 5, 20):
        image = stored(root, source, position)
        image = image.resize(resized(*image.size, 24), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        height, width, _ = pixels.shape
        top, left = round((height - 20) / 2), round((width - 20) / 2)
        expected = [pixels[top : top + 20, left : left + 20], pixels[:20, :20], pixels[:20, -20:]]
        expected += [pixels[-20:, :20], pixels[-20:, -20:]]
        np.testing.assert_array_equal(seen[position], np.stack(expected))


def test_the_crops_of_a_square_that_fits_are_all_the_same() -> None:
    assert offsets(20, 20, Pass(20, 20, corners=True)) == [(0, 0)] * 5


@pytest.mark.parametrize(
    ("size", "multiple", "expected"),
    [
        ((500, 375), 32, (288, 224)),  # 298.7 -> 288 is the nearest multiple of 32
        ((375, 500), 32, (224, 288)),
        ((375, 500), 1, (224, 299)),
        ((300, 300), 32, (224, 224)),
        ((310, 300), 32, (224, 224)),
        ((100, 1000), 32, (224, 2240)),
    ],
)
def test_whole_images_have_few_shapes(size: tuple[int, int], multiple: int, expected: tuple[int, int]) -> None:
    assert whole(*size, Pass(224, None), multiple) == expected


def test_whole_images_are_resized_and_not_cropped(root: Path) -> None:
    config = streamed(root, **SCALES)
    source, look = test_source(config), Pass(28, None)
    for position, (width, height) in enumerate(source.view_shapes(look).tolist()):
        expected = stored(root, source, position).resize((width, height), Image.Resampling.BILINEAR)
        (found,) = source.views(np.array([position]), look)
        np.testing.assert_array_equal(found[0], np.asarray(expected))


@pytest.mark.parametrize("protocol", [TEN, SCALES], ids=["ten_crop", "multi_scale"])
@pytest.mark.parametrize(("batch_size", "devices"), [(8, 1), (8, 3), (100, 8)])
def test_each_image_counts_once_and_few_shapes_are_seen(
    root: Path, protocol: dict[str, Any], batch_size: int, devices: int
) -> None:
    config = streamed(root, **protocol)
    source = test_source(config)
    sizes: dict[tuple[int, ...], set[int]] = {}

    def predict(images: np.ndarray) -> np.ndarray:
        sizes.setdefault(images.shape[1:], set()).add(len(images))
        assert len(images) % devices == 0
        mean = images.reshape(len(images), -1).mean(axis=1)
        return np.stack([np.ones(len(images)), mean], axis=1)

    found = probabilities(source, config, predict, classes=2, batch_size=batch_size, multiple_of=devices)
    np.testing.assert_allclose(found[:, 0], 1.0, rtol=1e-12)
    assert all(len(counts) == 1 for counts in sizes.values()), "one number of images for each shape"
    looks = [Pass(20, None), Pass(28, None)] if protocol is SCALES else [Pass(24, 20, corners=True)]
    alone = [np.mean([source.views(np.array([i]), look).mean() for look in looks]) for i in range(len(source))]
    if protocol is TEN:
        np.testing.assert_allclose(found[:, 1], alone, rtol=1e-6)  # crops are of one size
    assert len(found) == 21


def experiment(root: Path, mode: Any = "jit", devices: int = 1, **protocol: Any) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(family="cifar", depth=8, width=4),
        data=streamed(root, crop="center", scales=(256, 480), **protocol),
        optim=OptimConfig(milestones=()),
        train=TrainConfig(iterations=2, batch_size=24, eval_batch_size=8),
        parallel=ParallelConfig(mode=mode, devices=devices),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return found


def test_the_logits_of_a_whole_image_are_those_of_an_explicit_convolution_over_it(root: Path) -> None:
    """The last layer as a 1x1 convolution over the last map, its logits averaged over all positions, written out."""
    program = prepare(experiment(root, **SCALES))
    assembly = program.assembly
    source, state = assembly.dataset.test, assembly.initial
    assert isinstance(source, StreamSource)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    model = build(assembly.config.model)
    loss, errors = 0.0, 0
    for position in range(len(source)):
        each = []
        for look in (Pass(20, None), Pass(28, None)):
            pixels = source.views(np.array([position]), look)[0]
            for view in (pixels, pixels[:, :, ::-1]):
                images = (view / 255.0 - assembly.normalization.mean) / assembly.normalization.std
                _, kept = model.apply(
                    variables,
                    images.astype(np.float32),
                    train=False,
                    capture_intermediates=lambda module, _: module.name == "stage3_block1",
                    mutable=["intermediates"],
                )
                (features,) = kept["intermediates"]["stage3_block1"]["__call__"]  # [1, h, w, C]
                head = state.params["head"]
                by_position = np.einsum("nhwc,ck->nhwk", np.asarray(features, np.float64), head["kernel"])
                each.append(softmax((by_position + head["bias"]).mean(axis=(1, 2))[0]))
        mean = np.mean(each, axis=0)
        label = source.labels[position]
        loss, errors = loss - np.log(mean[label]), errors + (mean.argmax() != label)
    totals = program.evaluate_by_protocol(program.put(state))
    np.testing.assert_allclose(totals.loss, loss, rtol=1e-5)
    assert (totals.errors, totals.examples) == (errors, 21)


@pytest.mark.parametrize("protocol", [TEN, SCALES], ids=["ten_crop", "multi_scale"])
@pytest.mark.parametrize(("mode", "devices"), [("jit", 3), ("jit", 8), ("shard_map", 3), ("pmap", 2)])
def test_devices_agree(root: Path, protocol: dict[str, Any], mode: Any, devices: int) -> None:
    expected, found = (
        program.evaluate_by_protocol(program.put(program.assembly.initial))
        for program in (prepare(experiment(root, **protocol)), prepare(experiment(root, mode, devices, **protocol)))
    )
    assert (found.errors, found.examples) == (expected.errors, expected.examples)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


def test_a_run_s_last_evaluation_of_the_test_set_is_by_the_protocol(root: Path, tmp_path: Path) -> None:
    config = experiment(root, **TEN)
    record = run(config, tmp_path / "ten", study="s")
    centre = run(experiment(root), tmp_path / "centre", study="s")
    assert record.final_fingerprint == centre.final_fingerprint
    assert record.final.test_loss != centre.final.test_loss
    assert (record.final.train_loss, record.final.test_examples) == (centre.final.train_loss, 21)
    early, last = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("centre", "ten"))
    assert [line.test_loss for line in early[:-1]] == [line.test_loss for line in last[:-1]]
    assert last[-1].test_loss == record.final.test_loss
    jax.clear_caches()
