"""The conversion loses nothing: otherwise a comparison through it would prove little."""

import jax
import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import build
from tests.parity.convert import flatten, random_values, to_flax, to_torch, twin, unflatten

CONFIG = ModelConfig(depth=20, block="bottleneck", shortcut="C", width=4, num_classes=5)


def test_there_and_back() -> None:
    flat = random_values(CONFIG, (8, 8, 3))
    params, batch_stats = unflatten(flat)
    assert flatten(params, batch_stats).keys() == flat.keys()
    for through in (to_flax(to_torch(flat)), to_flax(twin(CONFIG, 3, flat).state_dict())):
        assert through.keys() == flat.keys()
        for name, value in flat.items():
            np.testing.assert_array_equal(through[name], value)


def test_a_tree_is_that_of_the_net() -> None:
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
    variables = jax.eval_shape(lambda x: build(CONFIG).init(jax.random.key(0), x, train=False), images)
    params, batch_stats = unflatten(random_values(CONFIG, (8, 8, 3)))
    for ours, its in ((params, variables["params"]), (batch_stats, variables["batch_stats"])):
        assert jax.tree.structure(ours) == jax.tree.structure(its)
