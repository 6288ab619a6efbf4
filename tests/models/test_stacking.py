"""A net that scans over its blocks is the net that writes them out, in its other layout."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models.noise import noise
from resnet_jax.models.resnet import build
from resnet_jax.models.stacking import stack, stacked_stages, unstack

CLASSES = 3
DEEP = ModelConfig(depth=20, width=2, num_classes=CLASSES, dtype="float64")
NETS = {
    "plain": {"shortcut": "none"},
    "zero-gamma": {"zero_gamma": True},
    "option C, some cut, remat": {
        "shortcut": "C",
        "cut": ("stage1", "stage3_block3"),
        "skip_init": 0.5,
        "remat": True,
    },
    "pre-activation bottleneck": {
        "depth": 29,
        "block": "bottleneck",
        "shortcut": "B",
        "activation_order": "full_preactivation",
    },
    "stochastic depth and dropout, remat": {"shortcut": "dropout", "survival": 0.4, "remat": True},
}


def config(**changes: Any) -> ModelConfig:
    return ModelConfig(**{**vars(DEEP), **changes})


def host(tree: Any) -> Any:
    return jax.device_get(tree)


# The last has what the others have, and more: noise for each block, and shortcuts.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != list(NETS)[-1] else []) for name in NETS]
)
@pytest.mark.usefixtures("x64")
def test_values_statistics_and_gradients_are_those_of_the_unrolled_net(name: str) -> None:
    c = config(**NETS[name])
    model = build(c)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    variables = host(model.init(jax.random.key(1), images, train=False))
    # Every block's own numbers, so that no two can be mistaken for one another.
    rng = np.random.default_rng(2)
    variables = jax.tree.map(lambda x: x + 0.1 * np.abs(rng.normal(size=x.shape)), variables)

    ids = jnp.arange(4, dtype=jnp.int32)
    keys = noise(jax.random.key(3), jnp.int32(5), ids, ids) if c.is_noisy else None

    def outcome(model: Any, variables: Any) -> Any:
        def loss_of(params: Any) -> Any:
            stats = variables["batch_stats"]
            logits, updated = model.apply(
                {"params": params, "batch_stats": stats}, images, train=True, mutable=["batch_stats"], noise=keys
            )
            return jnp.square(logits).sum(), updated["batch_stats"]

        grads, stats = jax.grad(loss_of, has_aux=True)(variables["params"])
        return grads, stats, model.apply(variables, images, train=False)

    written_out = build(config(**{**NETS[name], "remat": False}))
    expected = host(jax.jit(lambda v: outcome(written_out, v))(variables))
    stacked = stack(variables, c)
    assert stacked["params"]["stage2_rest"]["conv2"]["kernel"].shape[0] == 2
    assert len(jax.tree.leaves(stacked)) < len(jax.tree.leaves(variables))
    found = unstack(host(jax.jit(lambda v: outcome(model.clone(scanned=True), v))(stacked)), c)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


def test_the_program_does_not_grow_with_depth() -> None:
    def length(depth: int) -> int:
        c = config(depth=depth, dtype="float32")
        images = jnp.zeros((2, 8, 8, 1))
        variables = jax.eval_shape(lambda: build(c).init(jax.random.key(0), images, train=False))
        arrays = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables)
        scanned = build(c).clone(scanned=True)
        apply = jax.jit(lambda v: scanned.apply(v, images, train=True, mutable=["batch_stats"]))
        return len(apply.lower(stack(arrays, c)).as_text().splitlines())

    assert length(20) == length(38)


def test_stacking_and_back_is_nothing_and_touches_nets_only() -> None:
    c = config(depth=26, dtype="float32")
    params = host(build(c).init(jax.random.key(1), jnp.zeros((1, 8, 8, 1)), train=False)["params"])
    momenta = optax.TraceState(jax.tree.map(lambda x: -x, params))
    tree = {"params": params, "optimizer": (momenta, np.float32(0.1)), "block": {"size": np.ones(3)}}
    stacked = stack(tree, c)
    assert stacked["optimizer"][1] == np.float32(0.1)
    assert sorted(stacked["params"]) == [
        *("head", "stage1_block1", "stage1_rest", "stage2_block1", "stage2_rest"),
        *("stage3_block1", "stage3_rest", "stem_conv", "stem_norm"),
    ]
    np.testing.assert_array_equal(
        stacked["optimizer"][0].trace["stage3_rest"]["norm1"]["scale"][1], -params["stage3_block3"]["norm1"]["scale"]
    )
    jax.tree.map(np.testing.assert_array_equal, unstack(stacked, c), tree)


def test_a_stage_is_stacked_where_its_blocks_are_alike() -> None:
    assert sorted(stacked_stages(config(depth=26))) == [1, 2, 3]
    # Cut whole, or all but its first block: the rest are alike. In part: they are not.
    cut = ("stage1", "stage2_block1", "stage3_block4")
    assert sorted(stacked_stages(config(depth=26, cut=cut))) == [1, 2]


def test_a_stage_with_no_two_blocks_alike_is_left_as_it_is() -> None:
    c = config(depth=14)  # two blocks a stage
    tree = {"stage1_block1": np.ones(1), "stage1_block2": np.zeros(1)}
    assert stack(tree, c) == tree == unstack(tree, c)
