"""What a net says of pictures: against the same net applied by hand, picture by picture."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.weights import classifier
from resnet_jax.weights.classifier import Classifier, Prediction, Skipped
from tests.weights.factory import CIFAR, random_weights

PICTURES = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "2.png").write_text("This is no picture.")
    return folder


def paths(folder: Path) -> list[str]:
    return [str(folder / f"{i}.png") for i in range(PICTURES)]


@pytest.fixture(scope="module")
def predictions(folder: Path) -> list[Prediction | Skipped]:
    """By batches of two, of which one has a picture that cannot be read and the last is padded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "AT_ONCE", 2)
        return list(Classifier(random_weights(), "stage2_block1").predict(paths(folder)))


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(predictions: list[Any], folder: Path) -> None:
    assert [result.path for result in predictions] == paths(folder)
    assert [isinstance(result, Prediction) for result in predictions] == [True, True, False, True, True]
    assert predictions[2].reason.startswith("it is not an image in one of the formats")


def test_probabilities_and_features_are_the_net_s(predictions: list[Any], folder: Path) -> None:
    weights = random_weights()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = [np.asarray(Image.open(path)) for i, path in enumerate(paths(folder)) if i != 2]
    x = jnp.asarray((np.stack(images) / 255.0 - mean) / std, jnp.float32)
    logits, kept = build(CIFAR).apply(
        jax.device_put(weights.variables()), x, train=False, capture_intermediates=True, mutable=["intermediates"]
    )
    expected = jax.nn.softmax(logits, axis=-1)
    there = [result for result in predictions if isinstance(result, Prediction)]
    np.testing.assert_allclose([result.probabilities for result in there], expected, rtol=1e-4, atol=1e-6)
    block: Any = kept["intermediates"]["stage2_block1"]["__call__"][0]
    scale = float(abs(block).max())
    np.testing.assert_allclose([result.features for result in there], block, atol=1e-5 * scale)
    assert there[0].features is not None
    assert there[0].features.shape == (16, 16, 8)


def test_an_unknown_block_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"features: got 'stage2_blok1'; did you mean 'stage2_block1'\?"):
        Classifier(random_weights(), "stage2_blok1")


def test_no_picture_at_all_compiles_nothing(folder: Path) -> None:
    (result,) = Classifier(random_weights()).predict([str(folder / "2.png")])
    assert isinstance(result, Skipped)
