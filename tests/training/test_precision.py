"""bfloat16 is for convolutions and products; all that adds up or is kept is float32."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies import experiments
from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, ParallelConfig, override
from resnet_jax.data import Dataset, Normalization
from resnet_jax.data.dataset import ArraySource
from resnet_jax.models.resnet import build
from resnet_jax.training import optim
from resnet_jax.training.assemble import assemble
from resnet_jax.training.mesh import devices
from resnet_jax.training.program import Program
from resnet_jax.training.run import products
from resnet_jax.training.state import create
from resnet_jax.training.step import EvalBatch, Parts, TrainBatch, eval_step, train_step
from tests.training.test_loop import SMALL

SHAPE = (8, 8, 3)
BATCH = 16
NETS = {
    "basic": {"model.depth": 8},
    "basic, pre-activation": {"model.depth": 8, "model.activation_order": "full_preactivation"},
    "bottleneck": {"model.depth": 11, "model.block": "bottleneck", "model.shortcut": "B"},
    "imagenet": {"model.family": "imagenet", "model.depth": 18, "model.shortcut": "B"},
    "remat": {"model.depth": 8, "model.remat": True},
    "accumulation": {"model.depth": 8, "train.accumulation": 2},
}


def pieces(changes: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """A train step, an eval step, what makes their first state, and the net; in bfloat16 unless told."""
    base = {"model.num_classes": 3, "model.width": 4, "model.dtype": "bfloat16", "data.pad": 1, "data.flip": True}
    config: ExperimentConfig = override(experiments()["digits-resnet"], {**base, **changes})
    model, optimizer = build(config.model), optim.sgd(config.in_iterations().optim)
    stats = Normalization(np.full((1, *SHAPE), 0.3), np.full((1, 1, 1, 1), 0.5))

    def step(state: Any, batch: Any) -> Any:
        key = jax.random.key(0)
        data = DataConfig(pad=1, flip=True)
        parts = Parts(config.train.accumulation)
        return train_step(
            state, batch, key, model=model, optimizer=optimizer, normalization=stats, data=data, parts=parts
        )

    def evaluate(state: Any, batch: Any) -> Any:
        return eval_step(state, batch, model=model, normalization=stats)

    return step, evaluate, lambda: create(model, optimizer, jax.random.key(1), SHAPE), model


def batch() -> TrainBatch:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (BATCH, *SHAPE), np.uint8), rng.integers(0, 3, BATCH, np.int32)
    index = np.arange(BATCH, dtype=np.int32)
    return TrainBatch(*map(jnp.asarray, (images, labels, np.zeros_like(index), index)))


def equations(jaxpr: Any) -> Iterator[Any]:
    """All of a program's, those of its loops, branches and derivatives too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def dtypes(program: Any, *names: str) -> set[str]:
    """Dtypes of floating-point operands of the primitives of these names."""
    found = {
        str(v.aval.dtype)
        for e in equations(program)
        if e.primitive.name in names
        for v in e.invars
        if jnp.issubdtype(v.aval.dtype, jnp.floating)
    }
    assert found, f"no {names} in the program"
    return found


@pytest.mark.parametrize("net", NETS)
def test_every_dtype_of_a_bfloat16_train_step(net: str) -> None:
    step, _, create_state, _ = pieces(NETS[net])
    program = jax.make_jaxpr(step)(jax.eval_shape(create_state), batch()).jaxpr
    # Forward and backward: convolutions by inputs, by kernels and by the gradients between them.
    for product in ("conv2d", "conv2d_input_gradient", "conv2d_kernel_gradient", "dot_general"):
        assert dtypes(program, product) == {"bfloat16"}, product
    # All sums: batch statistics, the average over pixels, the loss, gradients of scales and biases.
    assert dtypes(program, "reduce_sum") == {"float32"}
    # BN's factor, the softmax, division (of pixels by 255 and by the standard deviation, of sums by numbers), and the
    # crops of the augmentation, which are gathered.
    for name in ("rsqrt", "exp", "log", "div", "gather"):
        assert dtypes(program, name) == {"float32"}, name
    pixels = [e for e in equations(program) if e.primitive.name == "convert_element_type" and reads_bytes(e)]
    assert {str(e.outvars[0].aval.dtype) for e in pixels} == {"float32"}


def reads_bytes(equation: Any) -> bool:
    return equation.invars[0].aval.dtype == jnp.uint8 and equation.invars[0].aval.ndim == 4


@pytest.mark.parametrize("net", NETS)
def test_what_a_bfloat16_step_leaves_is_float32(net: str) -> None:
    step, evaluate, create_state, model = pieces(NETS[net])
    state = jax.eval_shape(create_state)
    new, report = jax.eval_shape(step, state, batch())
    trees = {
        "params": new.params,
        "batch_stats": new.batch_stats,
        "opt_state": new.opt_state,
        "sums": report.sums,
        "rate": report.rate,
        "evaluation": jax.eval_shape(
            evaluate, state, EvalBatch(batch().images, batch().labels, jnp.ones(BATCH, jnp.float32))
        ),
        "logits": jax.eval_shape(
            lambda s, x: model.apply({"params": s.params, "batch_stats": s.batch_stats}, x, train=False),
            state,
            jnp.zeros((1, *SHAPE)),
        ),
    }
    for name, tree in trees.items():
        found = {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}
        # The optimizer's state has a counter and a flag beside its velocity.
        assert found - ({"int32", "bool"} if name == "opt_state" else set()) == {"float32"}, name
    # A step gives back what it was given: no dtype drifts from step to step.
    assert jax.tree.map(lambda leaf: leaf.dtype, new) == jax.tree.map(lambda leaf: leaf.dtype, state)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["basic", "bottleneck"])
def test_the_first_step_is_near_that_of_float32(net: str) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        step, _, create_state, _ = pieces({**NETS[net], "model.dtype": dtype})
        # The report alone: the compiler leaves the backward pass out.
        sums = jax.jit(lambda state, batch, step=step: step(state, batch)[1].sums)(create_state(), batch())
        losses[dtype] = float(sums.loss) / BATCH
    # Eight bits of mantissa, 0.4 %, through a dozen layers.
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


PRODUCT = re.compile(r"stablehlo\.(convolution|dot_general)")
# An eval step has the net's convolutions and its last layer. A train step has two gradients of each as well, without
# the gradient by the images.
CONVOLUTIONS = 7
EVAL_PRODUCTS, TRAIN_PRODUCTS = CONVOLUTIONS + 1, 3 * (CONVOLUTIONS + 1) - 1


def products_of(program: str, precision: str) -> int:
    """The number of products in a program as text, all of which have this precision in both operands."""
    lines = [line for line in program.splitlines() if PRODUCT.search(line)]
    # The two kinds of product write it differently, each once for an operand.
    assert [line for line in lines if len(re.findall(rf"\b{precision.upper()}\b", line)) != 2] == []
    return len(lines)


def noise(side: int, channels: int) -> Dataset:
    """256 images of noise, of ten classes, for training and as many for the test."""
    images = np.random.default_rng(0).integers(0, 256, (256, side, side, channels), np.uint8)
    source = ArraySource(images, np.arange(256, dtype=np.int32) % 10)
    return Dataset("noise", source, source, tuple(map(str, range(10))))


# The sizes of the digits and of CIFAR: between them, all the ways in which a CPU computes a convolution.
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3)])
@pytest.mark.parametrize("precision", ["default", "high", "highest"])
def test_every_product_of_a_run_has_the_precision_of_the_config(
    precision: str, side: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and backward, in the programs that a run compiles before the compiler for a device changes them."""
    programs: list[str] = []

    def noting(self: Any, *arguments: Any) -> None:
        programs.append(self.as_text())

    monkeypatch.setattr(jax.stages.Lowered, "compile", noting)
    config = override(SMALL, {"model.width": 16, "model.precision": precision, "train.steps_per_dispatch": 2})
    Program(assemble(config, dataset=noise(side, channels)), devices(ParallelConfig()))
    one, two, evaluation = (products_of(text, precision) for text in programs)
    assert min(one, two) >= TRAIN_PRODUCTS
    assert evaluation == EVAL_PRODUCTS


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_the_precision_reaches_the_products_of_every_platform(platform: str) -> None:
    """A convolution is computed elsewhere as on no CPU; what is lowered here for such a device needs none."""
    step, _, create_state, _ = pieces({"model.depth": 8, "model.dtype": "float32"})
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(step).trace(jax.eval_shape(create_state), batch()).lower(lowering_platforms=(platform,))
    assert products_of(lowered.as_text(), "highest") == TRAIN_PRODUCTS


def test_the_start_of_a_run_says_what_products_are_computed_in() -> None:
    model = ModelConfig()
    assert products(model, "cpu") == "default, products in float32"
    assert products(model, "gpu") == "default, products in TF32 where the device has it"
    assert products(dataclasses.replace(model, precision="highest"), "gpu") == "highest, products in float32"
    assert products(model, "tpu") == "default, products in bfloat16"
    assert products(dataclasses.replace(model, dtype="bfloat16"), "gpu") == "default, products in bfloat16"
