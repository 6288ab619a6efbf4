"""Every shortcut and every order of activations: the formula in NumPy, its gradient, and its limits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models.noise import Noise, noise
from resnet_jax.models.resnet import build
from tests.models import reference

pytestmark = pytest.mark.usefixtures("x64")

BASIC = ModelConfig(depth=14, width=2, dtype="float64", num_classes=3)
BOTTLENECK = ModelConfig(depth=20, width=2, block="bottleneck", dtype="float64", num_classes=3)
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 1))

ORDERS = (
    "original",
    "bn_after_addition",
    "relu_before_addition",
    "relu_only_preactivation",
    "full_preactivation",
)
CASES = {
    **{name: {"shortcut": name, **fields} for name, (fields, _) in reference.SHORTCUTS.items()},
    **{order: {"shortcut": "identity", "activation_order": order} for order in ORDERS[1:]},
    "full_preactivation, gates": {"shortcut": "exclusive_gate", "activation_order": "full_preactivation"},
    "skip_init": {"skip_init": 0.4},
}


def changed(config: ModelConfig, **changes: Any) -> ModelConfig:
    return ModelConfig(**{**vars(config), **changes})


def start(config: ModelConfig) -> Any:
    """Variables with every parameter moved from where it starts, so that scales of 1 and biases of 0 count."""
    variables = jax.device_get(build(config).init(jax.random.key(1), IMAGES, train=False))
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.normal(size=x.shape)), variables)


def logits(config: ModelConfig, variables: Any, images: Any = IMAGES, noise: Noise | None = None) -> Any:
    """In train mode."""
    return build(config).apply(variables, images, train=True, mutable=["batch_stats"], noise=noise)[0]


KINDS = {"basic": BASIC, "bottleneck": BOTTLENECK}
# In bottlenecks, a shortcut with parameters of its own and one with none; the others take long to compile.
FAST = [*((case, "basic") for case in CASES), ("C", "bottleneck"), ("none", "bottleneck")]
SLOW = [(case, "bottleneck") for case in CASES if (case, "bottleneck") not in FAST]


@pytest.mark.parametrize(("case", "kind"), [*FAST, *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW)])
def test_a_net_is_its_formula_and_its_gradient_is_the_formulas(case: str, kind: str) -> None:
    """Blocks that keep the shape and blocks that change it; gradients by central differences along a direction of each
    block's parameters, of the rest, and of the images."""
    config = changed(KINDS[kind], **CASES[case])
    variables = start(config)
    params, weights = variables["params"], np.random.default_rng(3).normal(size=(3, 3))

    def by_formula(params: Any, images: Any) -> Any:
        return (weights * reference.net(images, params, config)).sum()

    def by_net(params: Any, images: Any) -> Any:
        return (weights * logits(config, variables | {"params": params}, images)).sum()

    np.testing.assert_allclose(logits(config, variables), reference.net(IMAGES, params, config), rtol=1e-9, atol=1e-11)
    grads, image_grads = jax.device_get(jax.grad(by_net, (0, 1))(params, IMAGES))
    rng, step = np.random.default_rng(4), 1e-7
    for name in params:
        direction = jax.tree.map(lambda x: rng.normal(size=x.shape), params[name])
        ends = [
            by_formula(params | {name: jax.tree.map(lambda x, d, s=s: x + s * d, params[name], direction)}, IMAGES)
            for s in (step, -step)
        ]
        along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), grads[name], direction)))
        # Rounding of the sum, some 1e-13, over the step; the third derivative times its square is less.
        assert along == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-5), name
    direction = rng.normal(size=IMAGES.shape)
    ends = [by_formula(params, IMAGES + s * direction) for s in (step, -step)]
    assert (image_grads * direction).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-5)


KEYS = noise(jax.random.key(7), jnp.int32(11), jnp.arange(3, dtype=jnp.int32), jnp.asarray([5, 0, 9], jnp.int32))


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
def test_draws_go_into_the_formula_and_expectations_stand_in_for_them(order: Any) -> None:
    config = changed(BASIC, shortcut="dropout", shortcut_dropout=0.3, survival=0.4, activation_order=order)
    variables = start(config)
    weights, masks, expected = {}, {}, {}
    sizes = {1: (8, 8, 2), 2: (4, 4, 4), 3: (2, 2, 8)}
    for number, (stage, j) in enumerate(config.blocks, start=1):
        name, keys = f"stage{stage}_block{j}", KEYS.of_block(number)
        # Huang et al. 2016, Eq. 4: linear from 1 at the images to 0.4 at the last of six blocks.
        survival = 1.0 - number / 6 * 0.6
        weights[name] = float(jax.random.uniform(keys.batch, (), jnp.float32) < survival)
        masks[name] = np.stack([jax.random.uniform(k, sizes[stage], jnp.float32) >= 0.3 for k in keys.images])
        expected[name] = survival
    assert 0.0 in weights.values()
    assert 1.0 in weights.values()
    params = variables["params"]
    drawn = reference.net(IMAGES, params, config, weights=weights, masks=masks)
    np.testing.assert_allclose(logits(config, variables, noise=KEYS), drawn, rtol=1e-9, atol=1e-11)
    # survival is a float32 number
    without = reference.net(IMAGES, params, config, weights=expected)
    np.testing.assert_allclose(logits(config, variables), without, rtol=1e-6, atol=1e-6)
    evaluated = [build(config).apply(variables, IMAGES, train=False, noise=n) for n in (None, KEYS)]
    np.testing.assert_array_equal(*evaluated)


def test_an_examples_noise_is_its_own_wherever_it_stands() -> None:
    step, epochs = jnp.int32(11), jnp.asarray([0, 0, 1], jnp.int32)
    whole = noise(jax.random.key(7), step, epochs, jnp.asarray([5, 6, 5], jnp.int32))
    part = noise(jax.random.key(7), step, epochs[2:], jnp.asarray([5], jnp.int32))
    data = lambda keys: np.asarray(jax.random.key_data(keys))  # noqa: E731
    np.testing.assert_array_equal(data(whole.images)[2:], data(part.images))
    np.testing.assert_array_equal(data(whole.batch), data(part.batch))
    # Others for another image, epoch, block or step, and none of them the batch's.
    other = noise(jax.random.key(7), jnp.int32(12), epochs, jnp.asarray([5, 6, 5], jnp.int32))
    keys = (whole, other, whole.of_block(1), whole.of_block(2))
    rows = np.concatenate([data(k) for n in keys for k in (n.images, n.batch.reshape(1))])
    assert len(np.unique(rows, axis=0)) == len(rows) == 16


# --- limits -------------------------------------------------------------------------------------------------------

LIMITS = {
    "shortcut-only gating, b to minus infinity: original": ("shortcut_gate", {"gate_bias": -1e3}, "identity"),
    "constant scaling by 1: original": ("scale", {"shortcut_scale": 1.0}, "identity"),
    "constant scaling by 0: plain": ("scale", {"shortcut_scale": 0.0}, "none"),
    "dropout of nothing: original": ("dropout", {"shortcut_dropout": 0.0}, "identity"),
    "every shortcut cut: plain": ("identity", {"cut": ("every-1",)}, "none"),
    "a learned scalar of 1: original": ("identity", {"skip_init": 1.0}, "identity"),
}


@pytest.mark.parametrize("kind", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
@pytest.mark.parametrize("limit", LIMITS)
def test_limits(limit: str, kind: ModelConfig) -> None:
    shortcut, fields, other = LIMITS[limit]
    config, simple = changed(kind, shortcut=shortcut, **fields), changed(kind, shortcut=other)
    variables = jax.device_get(build(config).init(jax.random.key(1), IMAGES, train=False))
    shared = variables
    if other == "none":  # without the projections
        shared = jax.device_get(build(simple).init(jax.random.key(1), IMAGES, train=False))
    keys = KEYS if config.is_noisy else None
    np.testing.assert_array_equal(logits(config, variables, noise=keys), logits(simple, shared))


def test_exclusive_gating_tends_to_the_identity_map() -> None:
    """b to minus infinity: g = 0, (1 - g) x + g F = x, and the ReLU after the sum leaves x, the ReLU of the block
    before, as it is. So what blocks do is to take every second pixel, twice; the residual is scaled away too."""
    config = changed(BASIC, shortcut="exclusive_gate", gate_bias=-1e3)
    variables = jax.device_get(build(config).init(jax.random.key(1), IMAGES, train=False))
    params = variables["params"]
    stem = reference.relu(reference.bn(reference.conv(IMAGES, params["stem_conv"]["kernel"]), params["stem_norm"]))
    last = np.concatenate([stem[:, ::4, ::4], np.zeros((3, 2, 2, 6))], axis=3)
    expected = last.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(logits(config, variables), expected, rtol=1e-12, atol=1e-12)


def test_survival_of_one_is_the_unmodified_net() -> None:
    config = changed(BASIC, survival=1.0)
    assert not config.is_noisy
    variables = start(config)
    # And nearly one: a block is left out once in 2^40 steps.
    nearly = changed(BASIC, survival=1.0 - 2.0**-40)
    np.testing.assert_array_equal(logits(nearly, variables, noise=KEYS), logits(config, variables))


@pytest.mark.parametrize("kind", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_a_shortcuts_own_parameters_leave_the_others_where_they_start(kind: ModelConfig) -> None:
    """So that nets of one seed are twins in all that they share."""
    images = jnp.asarray(IMAGES)
    plain = build(changed(kind, shortcut="none")).init(jax.random.key(3), images, train=False)["params"]
    for shortcut in reference.SHORTCUTS:
        other = build(changed(kind, shortcut=shortcut, skip_init=0.1)).init(jax.random.key(3), images, train=False)
        for block, layers in plain.items():
            for layer, leaves in layers.items():
                jax.tree.map(np.testing.assert_array_equal, leaves, other["params"][block][layer])


# --- where a shortcut is cut --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "blocks"),
    [
        (("stage2",), ["stage2_block1", "stage2_block2"]),
        (("stage1_block2", "stage3_block1"), ["stage1_block2", "stage3_block1"]),
        (("every-3",), ["stage2_block1", "stage3_block2"]),
    ],
)
def test_a_cut_takes_one_shortcut_and_leaves_the_rest(cut: tuple[str, ...], blocks: list[str]) -> None:
    config = changed(BASIC, cut=cut)
    variables = start(config)
    expected = reference.net(IMAGES, variables["params"], config, cut=frozenset(blocks))
    np.testing.assert_allclose(logits(config, variables), expected, rtol=1e-9, atol=1e-11)
