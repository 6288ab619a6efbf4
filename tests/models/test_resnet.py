"""The nets against the papers' numbers and against each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import RELU_AFTER_LAST_NORM, ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models import cost
from resnet_jax.models.orders import ORDERS
from resnet_jax.models.resnet import build
from resnet_jax.training.state import initial_variables


def shapes(config: ModelConfig, size: int, channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters, without computing any."""
    images = jnp.zeros((1, size, size, channels))
    variables = jax.eval_shape(lambda key: build(config).init(key, images, train=False), jax.random.key(0))
    return flat(variables["params"])


def flat(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(k.key for k in path): getattr(leaf, "shape", leaf) for path, leaf in leaves}


def count(config: ModelConfig, size: int) -> int:
    return sum(int(np.prod(shape)) for shape in shapes(config, size).values())


# Exact counts by hand from Sec. 4.2's layers; they round to Table 6's 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M.
CIFAR = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
# torchvision's counts, whose shortcuts project where the shape changes (option B).
IMAGENET = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("shortcut", ["A", "none"])
@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110, pytest.param(1202, marks=pytest.mark.slow)])
def test_cifar_parameter_counts(depth: int, shortcut: Any) -> None:
    config = ModelConfig(depth=depth, shortcut=shortcut, num_classes=10)
    assert count(config, 32) == CIFAR[depth]
    assert cost.total(config, (32, 32, 3)).parameters == CIFAR[depth]


@pytest.mark.parametrize("depth", IMAGENET)
def test_imagenet_parameter_counts(depth: int) -> None:
    config = ModelConfig(family="imagenet", depth=depth, shortcut="B", num_classes=1000)
    assert count(config, 64) == IMAGENET[depth]
    assert cost.total(config, (224, 224, 3)).parameters == IMAGENET[depth]


@pytest.mark.parametrize(
    ("config", "original", "preactivation"),
    [
        # He et al. 2016, Table 3: 1.7M and 10.2M. By hand, n = 18 and 111 units a stage: pre-activation lacks the BNs
        # of the projections, 2 (64 + 128 + 256) parameters.
        ({"depth": 164, "block": "bottleneck"}, 1_704_154, 1_703_258),
        ({"depth": 1001, "block": "bottleneck"}, 10_328_602, 10_327_706),
        # WRN-28-10 of Zagoruyko and Komodakis 2016, 36.5M, a pre-activation net; 28 = 6n + 4 counts the projections.
        ({"depth": 26, "widen": 10, "shortcut": "B"}, None, 36_479_194),
    ],
    ids=["164", "1001", "WRN-28-10"],
)
def test_parameter_counts_of_preactivation_nets(
    config: dict[str, Any], original: int | None, preactivation: int
) -> None:
    for order, parameters in (("original", original), ("full_preactivation", preactivation)):
        model = ModelConfig(**{"shortcut": "identity", "activation_order": order, "num_classes": 10, **config})
        assert parameters in (None, cost.total(model, (32, 32, 3)).parameters)


@pytest.mark.parametrize(
    ("config", "projecting"),
    [
        (ModelConfig(depth=20, shortcut="A"), []),
        (ModelConfig(depth=20, shortcut="none"), []),
        (ModelConfig(depth=20, shortcut="B"), ["stage2_block1", "stage3_block1"]),
        (ModelConfig(depth=20, block="bottleneck", shortcut="B"), ["stage1_block1", "stage2_block1", "stage3_block1"]),
        # A basic net's first stage keeps 64 channels: no projection there, unlike a bottleneck net's.
        (ModelConfig(family="imagenet", depth=34, shortcut="B"), [f"stage{i}_block1" for i in (2, 3, 4)]),
        (ModelConfig(family="imagenet", depth=50, shortcut="B"), [f"stage{i}_block1" for i in (1, 2, 3, 4)]),
        (ModelConfig(depth=8, shortcut="C"), ["stage1_block1", "stage2_block1", "stage3_block1"]),
    ],
    ids=lambda v: f"{v.net}-{v.depth}" if isinstance(v, ModelConfig) else "",
)
def test_only_the_blocks_that_should_project_do(config: ModelConfig, projecting: list[str]) -> None:
    names = shapes(ModelConfig(**{**vars(config), "num_classes": 10}), 64)
    assert sorted({n.split("/")[0] for n in names if "shortcut_conv" in n}) == projecting


@pytest.mark.parametrize(
    "config", [ModelConfig(depth=8), ModelConfig(depth=11, block="bottleneck")], ids=["basic", "bottleneck"]
)
def test_plain_net_and_residual_twin_start_from_the_same_values(config: ModelConfig) -> None:
    twins = [
        initial_variables(
            build(ModelConfig(**{**vars(config), "shortcut": s, "num_classes": 10})), jax.random.key(3), (8, 8, 1)
        )
        for s in ("none", "A")
    ]
    jax.tree.map(np.testing.assert_array_equal, *twins)


def test_block_names_and_values_do_not_depend_on_depth() -> None:
    short, long = (
        flat_values(initial_variables(build(ModelConfig(depth=d, num_classes=10)), jax.random.key(0), (8, 8, 1)))
        for d in (8, 14)
    )
    assert set(short) < set(long)
    for name, value in short.items():
        np.testing.assert_array_equal(value, long[name])


def started(config: ModelConfig) -> Any:
    """Variables before the first step, of images of 8x8x1, on the host."""
    return jax.device_get(initial_variables(build(config), jax.random.key(1), (8, 8, 1)))


def flat_values(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_he_initialisation() -> None:
    # He et al. 2015b, Eq. 14: standard deviation sqrt(2 / (k^2 c_out)); Gaussian, so 0.27 % lie beyond three of them.
    variables = initial_variables(build(ModelConfig(depth=8, width=64, num_classes=10)), jax.random.key(1), (8, 8, 3))
    # The conv that doubles the channels, where c_in would give another answer.
    kernel = np.asarray(variables["params"]["stage3_block1"]["conv1"]["kernel"])
    assert kernel.shape == (3, 3, 128, 256)
    z = kernel.ravel() / np.sqrt(2 / (9 * 256))
    n = z.size
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * n)
    beyond = 0.0026998
    assert abs((np.abs(z) > 3).mean() - beyond) < 5 * np.sqrt(beyond / n)


@pytest.mark.parametrize("order", ["original", "relu_only_preactivation"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_zero_gamma_starts_every_residual_branch_at_zero(order: Any, block: Any) -> None:
    # With the residual branches silent, an option A net maps images as its stem, shortcuts and head alone do: removing
    # all convs' weights changes nothing.
    depth = 11 if block == "bottleneck" else 8
    config = ModelConfig(depth=depth, block=block, activation_order=order, zero_gamma=True, num_classes=10)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    variables = started(config)
    silenced = jax.tree_util.tree_map_with_path(
        lambda path, x: x * 0 if "conv" in path[-2].key and "stem" not in path[-2].key else x, variables
    )
    logits = jax.jit(lambda variables: build(config).apply(variables, images, train=False))
    expected = logits(silenced)
    np.testing.assert_allclose(logits(variables), expected, rtol=1e-6)
    assert not np.allclose(logits(started(ModelConfig(**{**vars(config), "zero_gamma": False}))), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("order", ["original", "full_preactivation"])
@pytest.mark.parametrize("shortcut", ["none", "A", "B", "C", "exclusive_gate", "dropout"])
def test_parameters_statistics_and_logits_are_float32(dtype: Any, order: Any, shortcut: Any) -> None:
    config = ModelConfig(depth=8, shortcut=shortcut, activation_order=order, skip_init=0.1, dtype=dtype, num_classes=3)
    model, images = build(config), jnp.ones((2, 8, 8, 3))

    def whole(key: jax.Array) -> Any:
        variables = model.init(key, images, train=False)
        return variables, model.apply(variables, images, train=True, mutable=["batch_stats"])

    for leaf in jax.tree.leaves(jax.eval_shape(whole, jax.random.key(0))):
        assert leaf.dtype == jnp.float32


def test_zero_gamma_is_refused_where_a_relu_follows_the_last_bn() -> None:
    # At 0 a ReLU passes no gradient: the convolutions around it, and the BN's scale and bias, would never move.
    for name, order in ORDERS.items():
        branch = [*order.before, "conv", *order.after, *order.before, "conv", *order.last]
        followed = "relu" in branch[max(i for i, step in enumerate(branch) if step == "norm") :]
        assert followed == (name in RELU_AFTER_LAST_NORM), name


@pytest.mark.parametrize(
    ("fields", "learns"),
    [
        ({"zero_gamma": True, "activation_order": "relu_only_preactivation"}, "norm2"),
        ({"skip_init": 0.0, "activation_order": "full_preactivation"}, "skip_init"),
    ],
)
def test_a_residual_that_starts_from_zero_learns(fields: Any, learns: str) -> None:
    config, images = ModelConfig(depth=8, width=2, num_classes=3, **fields), np.ones((4, 8, 8, 1), np.float32)
    images += np.random.default_rng(0).normal(size=images.shape)
    model, variables = build(config), started(config)

    @jax.jit
    def gradient(params: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, _ = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            return jnp.square(logits).mean()

        return jax.grad(loss)(params)

    for name, layers in gradient(variables["params"]).items():
        assert "block" not in name or any(leaf.any() for leaf in jax.tree.leaves(layers[learns])), name


def test_bfloat16_computes_its_convolutions_in_bfloat16() -> None:
    model = build(ModelConfig(depth=8, dtype="bfloat16", num_classes=3))
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, images)
    products = [e for e in jaxpr.jaxpr.eqns if e.primitive.name in ("conv2d", "dot_general")]
    assert len(products) == 8
    assert all(e.invars[0].aval.dtype == jnp.bfloat16 for e in products)


def test_train_and_eval_mode_differ_only_in_the_statistics_they_use() -> None:
    config = ModelConfig(depth=8, num_classes=10)
    model, variables = build(config), started(config)
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype(np.float32)
    in_training = jax.jit(lambda variables: model.apply(variables, images, train=True, mutable=["batch_stats"]))
    logits, updated = jax.device_get(in_training(variables))
    # Undo the running average (momentum 0.9, from mean 0 and variance 1): what is left are the batch's statistics.
    batch = jax.tree_util.tree_map_with_path(
        lambda path, x: (x - 0.9 * (1.0 if path[-1].key == "var" else 0.0)) / 0.1, updated["batch_stats"]
    )
    in_evaluation = jax.jit(lambda variables: model.apply(variables, images, train=False))
    evaluated = in_evaluation({"params": variables["params"], "batch_stats": batch})
    np.testing.assert_allclose(logits, evaluated, rtol=2e-4, atol=2e-5)  # float32; dividing by 0.1 costs a digit


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(depth=8, width=2, dtype="float64", num_classes=3),
        ModelConfig(
            depth=11,
            width=2,
            block="bottleneck",
            shortcut="B",
            activation_order="full_preactivation",
            dtype="float64",
            num_classes=3,
        ),
    ],
    ids=["basic", "bottleneck"],
)
def test_remat_changes_no_name_and_no_number(config: ModelConfig) -> None:
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
    outcomes = []
    for remat in (False, True):
        model = build(ModelConfig(**{**vars(config), "remat": remat}))
        # Drawn in float32, as other nets here, whose programs for it are compiled already.
        drawn = started(ModelConfig(**{**vars(config), "remat": remat, "dtype": "float32"}))
        variables = jax.tree.map(np.float64, drawn)

        def loss_of(params: Any, model: Any = model, stats: Any = variables["batch_stats"]) -> Any:
            logits, updated = model.apply(
                {"params": params, "batch_stats": stats}, images, train=True, mutable=["batch_stats"]
            )
            return jnp.square(logits).sum(), updated["batch_stats"]

        traced = jax.jit(jax.grad(loss_of, has_aux=True)).trace(variables["params"])
        # The forward pass of every block, and its repetition in the backward pass.
        assert str(traced.jaxpr).count("prevent_cse=True") == (3 if remat else 0)
        outcomes.append((variables, *traced.lower().compile()(variables["params"])))
    (variables, grads, stats), (other_variables, other_grads, other_stats) = outcomes
    jax.tree.map(np.testing.assert_array_equal, variables, other_variables)  # names too, or the trees would differ
    for a, b in zip(jax.tree.leaves((grads, stats)), jax.tree.leaves((other_grads, other_stats)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


def test_a_net_without_classes_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.num_classes: got None"):
        build(ModelConfig())
