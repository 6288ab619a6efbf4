"""Evaluation by the papers' protocols: what is seen of each image, that each counts once, and what is averaged."""

import functools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from resnet_jax.data import Normalization, load
from resnet_jax.data.crops import Pass, offsets, passes, resized, whole
from resnet_jax.data.stream import StreamSource
from resnet_jax.models.resnet import build
from resnet_jax.record import read_metrics
from resnet_jax.training.evaluate import Predictor, by_protocol, score
from resnet_jax.training.mesh import devices
from resnet_jax.training.program import prepare
from resnet_jax.training.run import run
from resnet_jax.weights import files
from tests.data.pictures import streamed, write

TEN: dict[str, Any] = {"protocol": "ten_crop"}
# Few shapes, for each of which a step is compiled.
SCALES: dict[str, Any] = {"protocol": "multi_scale", "eval_scales": (16, 24), "eval_multiple": 32}


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


def shared(count: int = 1, rows: Any = slice) -> Any:
    """So many devices, of which this process makes some rows."""
    return SimpleNamespace(count=count, rows=rows)


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

    by_protocol(predict, source, passes(config), devices=shared(), classes=3, batch_size=5)  # one image, its five crops
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
    source, look = test_source(config), Pass(24, None)
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

    found = by_protocol(predict, source, passes(config), devices=shared(devices), classes=2, batch_size=batch_size)
    np.testing.assert_allclose(found[:, 0], 1.0, rtol=1e-12)
    assert all(len(counts) == 1 for counts in sizes.values()), "one number of images for each shape"
    looks = [Pass(16, None), Pass(24, None)] if protocol is SCALES else [Pass(24, 20, corners=True)]
    alone = [np.mean([source.views(np.array([i]), look).mean() for look in looks]) for i in range(len(source))]
    if protocol is TEN:
        np.testing.assert_allclose(found[:, 1], alone, rtol=1e-6)  # crops are of one size
    assert len(found) == 21


@pytest.mark.parametrize("protocol", [TEN, SCALES], ids=["ten_crop", "multi_scale"])
def test_each_of_two_processes_makes_its_half_of_every_batch(root: Path, protocol: dict[str, Any]) -> None:
    """Halves are put together here, where a collective operation does it between processes."""
    config = streamed(root, **protocol)
    source = test_source(config)

    def seen(rows: Any) -> list[np.ndarray]:
        found: list[np.ndarray] = []

        def predict(images: np.ndarray) -> np.ndarray:
            found.append(images)
            return np.zeros((len(images) * (1 if rows is whole_batch else 2), 3))

        by_protocol(predict, source, passes(config), devices=shared(2, rows), classes=3, batch_size=8)
        return found

    def whole_batch(size: int) -> slice:
        return slice(size)

    first, second = seen(lambda size: slice(0, size // 2)), seen(lambda size: slice(size // 2, size))
    for one, other, both in zip(first, second, seen(whole_batch), strict=True):
        assert len(one) == len(other)
        np.testing.assert_array_equal(np.concatenate([one, other]), both)


MODEL = ModelConfig(family="cifar", depth=8, width=4, num_classes=3)
STATISTICS = Normalization(np.full((1, 1, 1, 3), 0.4), np.full((1, 1, 1, 3), 0.25))


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    """A net's, with running statistics as after some training."""
    init = jax.jit(functools.partial(build(MODEL).init, train=False))
    made = init(jax.random.key(0), np.zeros((1, 20, 20, 3), np.float32))
    draw = np.random.default_rng(0)
    changed = jax.tree.map(lambda x: np.asarray(x) * draw.uniform(0.5, 1.5, x.shape).astype(x.dtype), made)
    return dict(changed)


def predicted(config: DataConfig, variables: dict[str, Any], mode: Any = "jit", count: int = 1) -> np.ndarray:
    """The probabilities of every test image, [N, 3], on so many devices."""
    where = devices(ParallelConfig(mode=mode, devices=count))
    predictor = Predictor(where, build(MODEL), STATISTICS, "highest")
    state = where.replicate_state(variables)
    predict = functools.partial(predictor, state)
    return by_protocol(predict, test_source(config), passes(config), devices=where, classes=3, batch_size=8)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return found


def test_the_probabilities_of_a_whole_image_are_those_of_an_explicit_convolution_over_it(
    root: Path, variables: dict[str, Any]
) -> None:
    """The last layer as a 1x1 convolution over the last map, its logits averaged over all positions, written out."""
    config = streamed(root, **SCALES, classes=("n00000000", "n00000001"))
    source, model = test_source(config), build(MODEL)

    @jax.jit
    def last_map(images: Any) -> Any:  # [1, H, W, 3] -> [1, h, w, C]
        _, kept = model.apply(
            variables,
            images,
            train=False,
            capture_intermediates=lambda module, _: module.name == "stage3_block1",
            mutable=["intermediates"],
        )
        return kept["intermediates"]["stage3_block1"]["__call__"][0]

    expected, head = [], variables["params"]["head"]
    for position in range(len(source)):
        each = []
        for look in (Pass(16, None), Pass(24, None)):
            pixels = source.views(np.array([position]), look)[0]
            for view in (pixels, pixels[:, :, ::-1]):
                features = np.asarray(last_map(((view / 255.0 - 0.4) / 0.25).astype(np.float32)), np.float64)
                by_position = np.einsum("nhwc,ck->nhwk", features, head["kernel"])
                each.append(softmax((by_position + head["bias"]).mean(axis=(1, 2))[0]))
        expected.append(np.mean(each, axis=0))
    np.testing.assert_allclose(predicted(config, variables), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("protocol", "mode", "count"),
    [(TEN, "jit", 8), (TEN, "shard_map", 3), (TEN, "pmap", 2), (SCALES, "jit", 3)],
    ids=["ten_crop-jit-8", "ten_crop-shard_map-3", "ten_crop-pmap-2", "multi_scale-jit-3"],
)
def test_devices_agree(root: Path, variables: dict[str, Any], protocol: dict[str, Any], mode: Any, count: int) -> None:
    config = streamed(root, **protocol)
    expected = predicted(config, variables)
    assert expected.shape == (21, 3)
    assert len(np.unique(expected[:, 0])) == 21
    np.testing.assert_allclose(predicted(config, variables, mode, count), expected, rtol=1e-5)


def test_scores_are_counted_from_the_mean_probabilities() -> None:
    found = score(np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]]), np.array([0, 1], np.int32))
    assert (found.errors, found.examples) == (1, 2)
    np.testing.assert_allclose(found.loss, np.log(2.0) + np.log(8 / 3))


def experiment(root: Path, **protocol: Any) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(family="cifar", depth=8, width=4),
        data=streamed(root, crop="center", scales=(256, 480), **protocol),
        optim=OptimConfig(milestones=(), ema=0.9),
        train=TrainConfig(iterations=2, batch_size=21, eval_batch_size=8, eval_every=1),
    )


def test_a_run_s_last_evaluation_of_the_test_set_is_by_the_protocol(root: Path, tmp_path: Path) -> None:
    """It looks at the averaged net, which is the one that the run keeps."""
    config = experiment(root, **TEN)
    record = run(config, tmp_path / "ten", study="s")
    centre = run(experiment(root), tmp_path / "centre", study="s")
    assert record.final_fingerprint == centre.final_fingerprint
    assert (record.final.train_loss, record.final.test_examples) == (centre.final.train_loss, 21)
    early, last = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("centre", "ten"))
    assert [line.test_loss for line in early[:-1]] == [line.test_loss for line in last[:-1]]
    kept, source = files.load(tmp_path / "ten"), test_source(config.data)
    assert (kept.preprocessing.resize, kept.preprocessing.height) == (24, 20)  # other pictures are seen as the run's
    predictor = Predictor(devices(ParallelConfig()), build(kept.model), kept.preprocessing.normalization, "highest")
    predict = functools.partial(predictor, kept.variables())
    found = by_protocol(predict, source, passes(config.data), devices=predictor.devices, classes=3, batch_size=21)
    expected = score(found, source.labels)
    np.testing.assert_allclose(record.final.test_loss, expected.mean_loss, rtol=1e-5)
    assert record.final.test_loss == last[-1].test_loss != early[-1].test_loss


@pytest.mark.slow
def test_ten_thousand_and_seven_images_are_counted_once(tmp_path: Path) -> None:
    """On 1, 3 and 8 devices by all three protocols, at a batch size that divides none of it: 23 are left for the last.

    Many files are the same 21 pictures, so each row is known from a picture's own.
    """
    root = write(tmp_path / "few", train=1, test=7)
    files_of = {folder.name: sorted(folder.iterdir()) for folder in sorted((root / "val").iterdir())}
    for number in range(10_007 - 21):
        folder = sorted(files_of)[number % 3]
        original = files_of[folder][number // 3 % 7]
        original.with_name(f"{original.stem}_{number:05d}.JPEG").hardlink_to(original)
    small: dict[str, Any] = {"image_size": 8, "eval_resize": 12, "crop": "center", "scales": (256, 480)}
    scales = {"protocol": "multi_scale", "eval_scales": (8, 12), "eval_multiple": 32}
    configs = [streamed(root, **small, **protocol) for protocol in ({"protocol": "center"}, TEN, scales)]
    net = ModelConfig(family="cifar", depth=8, width=2, num_classes=3)
    losses: dict[str, list[float]] = {}
    for count in (1, 3, 8):
        where = devices(ParallelConfig(devices=count))
        for config in configs:
            source = test_source(config)
            assert len(source) == 10_007
            if config.protocol == "center":
                changed = ExperimentConfig(
                    model=net,
                    data=config,
                    optim=OptimConfig(milestones=()),
                    train=TrainConfig(iterations=1, batch_size=24, eval_batch_size=256),
                    parallel=ParallelConfig(devices=count),
                )
                program = prepare(changed)
                state = program.put(program.assembly.initial)
                found = program.evaluate(state, "test")
                losses.setdefault("center", []).append(found.loss)
            else:
                predictor = Predictor(where, build(net), program.assembly.normalization, "highest")
                variables = {"params": state.params, "batch_stats": state.batch_stats}
                predict = functools.partial(predictor, variables)
                rows = by_protocol(predict, source, passes(config), devices=where, classes=3, batch_size=256)
                np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-5)
                # Hard links of one picture have one inode.
                pictures = [os.stat(source.name(position)).st_ino for position in range(len(source))]
                _, first, of = np.unique(pictures, return_index=True, return_inverse=True)
                assert len(first) == 21
                np.testing.assert_allclose(rows, rows[first][of], rtol=1e-4)
                found = score(rows, source.labels)
                losses.setdefault(config.protocol, []).append(found.loss)
            assert found.examples == 10_007
    for each in losses.values():
        np.testing.assert_allclose(each, each[0], rtol=1e-5)
