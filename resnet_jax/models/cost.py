"""Computes the cost of a net with formulas: shapes, parameters, multiply-adds and memory. It does not import JAX.

Multiply-adds are counted for convolutions and the last layer, in the forward pass of one image. He et al. 2015 (Table
1) call them FLOPs. Products with the zeros of the padding count too, as in the paper's 3.6e9 for the 34-layer net.

Training needs this memory in bytes on each device, for a net with P parameters. A parameter has p bytes (8 in float64,
otherwise 4), and an activation has b bytes (2 in bfloat16, 4 in float32, 8 in float64):

    parameters    p P
    gradients     p P; 2 p P with accumulation, for the sum and the gradient of the current part of the batch
    optimizer     p P for the velocity; 2 p P with an average of the parameters (optim.ema)
    activations   b * (images that are computed at once) * (numbers that are kept for each image)

These numbers are kept for the backward pass:

- the inputs of each convolution, each BN, the max-pool and the last average pooling. The output of a ReLU is not
  counted separately, because it is the input of the next layer. The input of a projection is not counted separately,
  because it is also the input of another layer.
- the output of a gate and the signal that the gate multiplies; the residual that the SkipInit factor multiplies.

With `remat`, each block keeps only its input. In the backward pass, the other numbers of a block are computed again,
for one block at a time. So they count for only one block: the one that has most of them.

The compiler may keep more or fewer numbers than this.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.models.orders import ORDERS
from resnet_jax.models.shortcuts import SHORTCUTS, projects
from resnet_jax.text import plural

Shape = tuple[int, int, int]
"""Height, width and channels."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of a layer, or the sum over several layers."""

    name: str
    """The name of the layer in the parameters, such as "stage2_block1/conv1"."""
    output: Shape
    parameters: int
    multiply_adds: int
    """Multiply-adds in the forward pass of one image."""
    kept: int
    """Numbers that are kept for the backward pass of one image, without `remat`."""


@dataclass(frozen=True)
class Memory:
    """Memory in bytes that training needs on each device, by the formulas in the module's docstring."""

    images: int
    """Number of images that each device computes at once; not bytes."""
    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """The sum of all parts, in bytes."""
        return self.parameters + self.gradients + self.optimizer + self.activations


def layers(config: ModelConfig, image_shape: Shape) -> list[LayerCost]:
    """The cost of every layer with parameters, in the order of computation; config.num_classes must not be None."""
    return list(_layers(config, image_shape))


def stages(config: ModelConfig, image_shape: Shape) -> list[LayerCost]:
    """The cost of each stage, as sums over its layers. The stem and the head count as stages.

    The names are "stem", "stage1 (3 blocks)", the other stages, and "head".
    """
    groups: dict[str, list[LayerCost]] = {}
    for row in layers(config, image_shape):
        part = row.name.split("/")[0].split("_")[0]
        groups.setdefault("head" if part == "final" else part, []).append(row)
    rows = []
    for name, members in groups.items():
        blocks = len({row.name.split("/")[0] for row in members}) if name.startswith("stage") else 0
        label = f"{name} ({plural(blocks, 'block')})" if blocks else name
        rows.append(LayerCost(label, members[-1].output, *_sums(members)))
    return rows


def total(config: ModelConfig, image_shape: Shape) -> LayerCost:
    """The cost of the whole net."""
    rows = layers(config, image_shape)
    return LayerCost("total", rows[-1].output, *_sums(rows))


def memory(config: ExperimentConfig, image_shape: Shape) -> Memory:
    """The memory that training needs on each device; config.model.num_classes must not be None."""
    train = config.train
    rows = layers(config.model, image_shape)
    images = train.batch_size // (config.parallel.devices * train.accumulation)
    weight_bytes = 8 if config.model.dtype == "float64" else 4
    number_bytes = {"bfloat16": 2, "float32": 4, "float64": 8}[config.model.dtype]
    parameters = weight_bytes * sum(row.parameters for row in rows)
    return Memory(
        images=images,
        parameters=parameters,
        gradients=parameters * (2 if train.accumulation > 1 else 1),
        optimizer=parameters * (1 if config.optim.ema is None else 2),
        activations=number_bytes * images * (_kept_with_remat(rows) if config.model.remat else _sums(rows)[2]),
    )


def _kept_with_remat(rows: list[LayerCost]) -> int:
    """The count of numbers that are kept for the backward pass of an image with `remat`."""
    blocks: dict[str, list[LayerCost]] = {}
    outside = 0
    for row in rows:
        block, inside, _ = row.name.partition("/")
        if inside:
            blocks.setdefault(block, []).append(row)
        else:
            outside += row.kept
    # The first layer of a block that keeps anything keeps the input of the block.
    inputs = [next(row.kept for row in members if row.kept) for members in blocks.values()]
    insides = [_sums(members)[2] - own for members, own in zip(blocks.values(), inputs, strict=True)]
    return outside + sum(inputs) + max(insides)


def _sums(rows: list[LayerCost]) -> tuple[int, int, int]:
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows), sum(row.kept for row in rows)


def _conv(name: str, shape: Shape, features: int, kernel: int, stride: int) -> LayerCost:
    height, width = (-(-size // stride) for size in shape[:2])
    weights = kernel * kernel * shape[2] * features
    return LayerCost(name, (height, width, features), weights, height * width * weights, math.prod(shape))


def _norm(name: str, shape: Shape) -> LayerCost:
    return LayerCost(name, shape, 2 * shape[2], 0, math.prod(shape))


def _layers(c: ModelConfig, image_shape: Shape) -> Iterator[LayerCost]:
    assert c.num_classes is not None
    order = ORDERS[c.activation_order]
    kernel, stride = (3, 1) if c.family == "cifar" else (7, 2)
    stem = _conv("stem_conv", image_shape, c.base_width, kernel, stride)
    yield stem
    shape = stem.output
    stem_norm = not (order.norm_first and c.family == "cifar")
    if stem_norm:
        norm = _norm("stem_norm", shape)
        # The max-pool's input is as large as the BN's.
        yield dataclasses.replace(norm, kept=2 * norm.kept) if c.family == "imagenet" else norm
    if c.family == "imagenet":  # max-pool, stride 2
        shape = (-(-shape[0] // 2), -(-shape[1] // 2), shape[2])
    for i, (blocks, width) in enumerate(zip(c.stage_blocks, c.stage_widths, strict=True), start=1):
        for j in range(1, blocks + 1):
            stride = 2 if i > 1 and j == 1 else 1
            rows = list(_block(c, (i, j), shape, width, stride, preactivated=stem_norm and (i, j) == (1, 1)))
            yield from rows
            shape = rows[-1].output
    if order.norm_first:
        yield _norm("final_norm", shape)
    weights = shape[2] * c.num_classes
    yield LayerCost("head", (1, 1, c.num_classes), weights + c.num_classes, weights, math.prod(shape))


def _block(
    c: ModelConfig, at: tuple[int, int], shape: Shape, width: int, stride: int, *, preactivated: bool
) -> Iterator[LayerCost]:
    name, order, shortcut = f"stage{at[0]}_block{at[1]}", ORDERS[c.activation_order], c.shortcut_of(at)
    source, out = shape, c.expansion * width
    convs = c.convs(width, stride)
    if projects(shortcut, c.block_kind, shape_changes=stride > 1 or shape[2] != out):
        projection = _conv(f"{name}/shortcut_conv", shape, out, 1, stride)
        yield dataclasses.replace(projection, kept=0)  # its input is the block's, or conv1's
        if not order.norm_first:
            yield _norm(f"{name}/shortcut_norm", projection.output)
    for k, (features, kernel, s) in enumerate(convs, start=1):
        if "norm" in order.before and not (preactivated and k == 1):
            yield _norm(f"{name}/norm{k}", shape)
        conv = _conv(f"{name}/conv{k}", shape, features, kernel, s)
        yield conv
        shape = conv.output
        if "norm" in (order.after if k < len(convs) else order.last + order.joined):
            yield _norm(f"{name}/norm{k}", shape)
    if SHORTCUTS[shortcut].gated:
        gate = _conv(f"{name}/shortcut_gate", source, out, 1, stride)
        yield dataclasses.replace(gate, parameters=gate.parameters + out, kept=2 * math.prod(shape))
    if c.skip_init is not None:
        yield LayerCost(f"{name}/skip_init", shape, 1, 0, math.prod(shape))
