"""That the Flax peer computes what we compute, and takes our steps."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import convolutions
from experiments.benchmark.contestants import Flax, Ours, flax_parts
from experiments.benchmark.spec import CONVOLVERS, Spec, step_config
from resnet_jax.config import ExperimentConfig, ModelConfig, override
from resnet_jax.models.resnet import build

CONFIG = step_config("resnet-8", 4, "float32")

SPEC = Spec("step", "flax", CONFIG)

# Flax's own layers add vectors to arrays of more axes, which this project's tests do not allow itself.
lenient = pytest.mark.usefixtures("_any_rank")


@pytest.fixture
def _any_rank() -> Any:
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def their_names(config: ModelConfig) -> dict[str, str]:
    """From our modules' names to the Flax peer's, which Flax counts up."""
    names = {"stem_conv": "Conv_0", "stem_norm": "BatchNorm_0", "head": "Dense_0"}
    count = 0
    for i, blocks in enumerate(config.stage_blocks, start=1):
        for j in range(1, blocks + 1):
            ours, theirs = f"stage{i}_block{j}", f"Block_{count}"
            for k in range(1, 4):
                names |= {f"{ours}/conv{k}": f"{theirs}/Conv_{k - 1}", f"{ours}/norm{k}": f"{theirs}/BatchNorm_{k - 1}"}
            names |= {f"{ours}/shortcut_conv": f"{theirs}/conv_proj", f"{ours}/shortcut_norm": f"{theirs}/norm_proj"}
            count += 1
    return names


def converted(tree: Any, config: ModelConfig) -> Any:
    """Our tree under the Flax peer's names."""
    names = their_names(config)
    result: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *modules, last = (key.key for key in path)
        node = result
        for module in names["/".join(modules)].split("/"):
            node = node.setdefault(module, {})
        node[last] = leaf
    return result


def random_variables(config: ExperimentConfig, shape: tuple[int, ...]) -> Any:
    """Values for every leaf of our net under which no two leaves are alike."""
    images = jax.ShapeDtypeStruct((1, *shape), jnp.dtype(config.model.dtype))
    shapes = jax.eval_shape(lambda key, x: build(config.model).init(key, x, train=False), jax.random.key(0), images)
    rng = np.random.default_rng(1)

    def draw(path: Any, leaf: Any) -> Any:
        kind = path[-1].key
        if kind == "kernel":
            value = rng.normal(0.0, np.sqrt(2.0 / np.prod(leaf.shape[:-1])), leaf.shape)
        else:
            value = rng.uniform(0.5, 1.5, leaf.shape) if kind in ("scale", "var") else rng.normal(0.0, 0.3, leaf.shape)
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@lenient
@pytest.mark.parametrize(
    ("net", "size", "dtype", "tolerance"),
    [
        pytest.param("resnet-20", 12, "float32", 1e-4, marks=pytest.mark.slow),
        ("resnet-20", 12, "float64", 1e-11),
        pytest.param("resnet-50", 64, "float64", 1e-11, marks=pytest.mark.slow),
    ],
)
def test_the_flax_peer_is_our_net(net: Any, size: int, dtype: str, tolerance: float) -> None:
    with jax.enable_x64(dtype == "float64"):
        config = override(step_config(net, 4, "float32"), {"model.dtype": dtype})
        variables = random_variables(config, (size, size, 3))
        theirs = {name: converted(tree, config.model) for name, tree in variables.items()}
        peer, _, (params, batch_stats, _) = flax_parts(config, (32, 32, 3) if net != "resnet-50" else (224, 224, 3))
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, theirs["params"])
        assert jax.tree.map(jnp.shape, batch_stats) == jax.tree.map(jnp.shape, theirs["batch_stats"])
        images = jnp.asarray(np.random.default_rng(0).normal(size=(4, size, size, 3)), jnp.dtype(dtype))
        for train in (False, True):
            ours, kept = build(config.model).apply(variables, images, train=train, mutable=["batch_stats"])
            logits, their_kept = peer.apply(theirs, images, train=train, mutable=["batch_stats"])
            np.testing.assert_allclose(logits, ours, rtol=0, atol=tolerance * float(jnp.abs(ours).max()))
            expected = converted(kept["batch_stats"], config.model)
            for a, b in zip(jax.tree.leaves(their_kept["batch_stats"]), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@lenient
def test_the_flax_contestant_takes_our_steps() -> None:
    ours, peer = Ours(replace(SPEC, steps=2)), Flax(replace(SPEC, steps=2))
    start = ours.program.assembly.initial
    params, batch_stats = (converted(tree, CONFIG.model) for tree in (start.params, start.batch_stats))
    peer.state = jax.tree.map(jnp.asarray, (params, batch_stats, peer.state[2]))
    losses = [(peer.run(), ours.run()) for _ in range(2)]
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4)
    assert losses[0][1] != losses[1][1]  # it learns: equal ones would say nothing
    memory = ours.program.memory()
    assert memory is not None
    assert ours.facts()["compiler_temporary_bytes"] == memory[1]
    # In eval mode too, by their own steps, after training.
    ours.phase, in_eval = "eval", Flax(replace(SPEC, phase="eval"))
    in_eval.state = peer.state
    assert in_eval.run() == pytest.approx(ours.run(), rel=1e-3)


def test_single_convolutions_are_those_of_the_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides, in both ways, compute what they are timed on; the gradients of one are those of the other."""
    shape = convolutions.Shape(batch=2, size=5, channels=3, features=4, kernel=3, stride=2)
    monkeypatch.setattr(convolutions, "SHAPES", (shape,))
    by_part: dict[str, list[np.ndarray]] = {}
    for part in get_args(convolutions.Part):
        for way, side in itertools.product(convolutions.WAYS, CONVOLVERS):
            compiled, operands = convolutions.operation(shape, part, way, side)
            by_part.setdefault(part, []).append(np.stack(compiled(operands)))
    assert [found[0].shape for found in by_part.values()] == [(2, 2, 3, 3, 4), (2, 2, 5, 5, 3), (2, 3, 3, 3, 4)]
    for found in by_part.values():
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-5)
