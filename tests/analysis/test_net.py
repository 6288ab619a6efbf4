"""Nets that instruments look at are those of their runs: values, normalisation, whatever they were fine-tuned from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from resnet_jax.analysis.net import Loader
from resnet_jax.config import ExperimentConfig, ModelConfig, override
from resnet_jax.record import read_record
from resnet_jax.training.run import run
from resnet_jax.training.state import fingerprint
from resnet_jax.weights import files
from resnet_jax.weights.preprocessing import per_channel
from tests.training.test_loop import SMALL
from tests.weights.factory import random_weights

# A net of 7 classes of grey images, to be fine-tuned on the ten digits.
NET = ModelConfig(depth=8, width=4, num_classes=7)
MEAN, STD = 0.3, 0.4


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    place = tmp_path_factory.mktemp("net") / "net"
    weights = random_weights(NET, channels=1)
    files.save(dataclasses.replace(weights, preprocessing=per_channel(8, 8, (MEAN,), (STD,))), place)
    changes = {"finetune.weights": str(place), "finetune.frozen_stages": 1, "finetune.stage_rates": (1.0, 0.5, 2.0)}
    return override(SMALL, {**changes, "data.normalize": "weights", "train.iterations": 2, "train.eval_every": 0})


@pytest.fixture(scope="module")
def directory(config: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run with frozen stages and stage rates."""
    place = tmp_path_factory.mktemp("runs") / "run"
    run(config, place, study="test")
    return place


def test_the_net_of_a_fine_tuned_run_is_brought_back(directory: Path) -> None:
    net = Loader().trained(directory, "net")
    assert fingerprint(net.variables["params"]) == read_record(directory / "record.json").final_fingerprint


def test_its_images_are_normalised_as_in_the_run(directory: Path) -> None:
    net = Loader().trained(directory, "net")
    part = net.dataset.test
    index = np.random.default_rng(5).permutation(len(part))[:3]
    expected = (part.images[index] / 255.0 - MEAN) / STD
    np.testing.assert_allclose(net.examples("test", 3, seed=5).images, expected, rtol=1e-6)


def test_an_untrained_net_has_the_values_of_the_file_that_it_starts_from(config: ExperimentConfig) -> None:
    net = Loader().untrained(config, "net")
    assert config.finetune.weights is not None
    theirs = files.load(Path(config.finetune.weights)).variables()
    kernel = net.variables["params"]["stage2_block1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs["params"]["stage2_block1"]["conv1"]["kernel"])
    np.testing.assert_array_equal(
        net.variables["batch_stats"]["stem_norm"]["mean"], theirs["batch_stats"]["stem_norm"]["mean"]
    )
    assert net.variables["params"]["head"]["kernel"].shape[-1] == 10  # the last layer is new
