"""What a net costs, by formula: shapes, parameters and multiply-adds, layer by layer. Nothing here imports JAX.

Multiply-adds are those of convolutions and of the last layer for one image's forward pass, which is what He et al.
2015 (Table 1) call FLOPs; taps on the padding count, as in the paper's 3.6e9 for the 34-layer net.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resnet_jax.config import ModelConfig

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """A layer, or several together."""

    name: str
    """As in the tree of parameters, such as "stage2_block1/conv1"."""
    output: Shape
    """Height, width, channels."""
    parameters: int
    multiply_adds: int


def layers(config: ModelConfig, image_shape: Shape) -> list[Row]:
    """Every layer with parameters, in order of computation.

    Args:
      config: with `num_classes` set.
      image_shape: height, width, channels.
    """
    return list(_layers(config, image_shape))


def stages(config: ModelConfig, image_shape: Shape) -> list[Row]:
    """The layers summed by stage: stem, stage1, ..., head; a stage's name says how many blocks it has."""
    groups: dict[str, list[Row]] = {}
    for row in layers(config, image_shape):
        groups.setdefault(_stage(row.name), []).append(row)
    rows = []
    for name, members in groups.items():
        blocks = len({row.name.split("/")[0] for row in members}) if name.startswith("stage") else 0
        label = f"{name} ({blocks} block{'s' * (blocks > 1)})" if blocks else name
        rows.append(Row(label, members[-1].output, *_sums(members)))
    return rows


def total(config: ModelConfig, image_shape: Shape) -> Row:
    """The whole net."""
    rows = layers(config, image_shape)
    return Row("total", rows[-1].output, *_sums(rows))


def _sums(rows: list[Row]) -> tuple[int, int]:
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def _stage(name: str) -> str:
    first = name.split("/")[0].split("_")[0]
    return "head" if first in ("final", "head") else first


def _conv(name: str, shape: Shape, features: int, kernel: int, stride: int) -> Row:
    height, width = (-(-size // stride) for size in shape[:2])
    weights = kernel * kernel * shape[2] * features
    return Row(name, (height, width, features), weights, height * width * weights)


def _norm(name: str, shape: Shape) -> Row:
    return Row(name, shape, 2 * shape[2], 0)


def _layers(c: ModelConfig, image_shape: Shape) -> Iterator[Row]:
    assert c.num_classes is not None
    preact = c.activation_order == "full_preactivation"
    kernel, stride = (3, 1) if c.family == "cifar" else (7, 2)
    stem = _conv("stem_conv", image_shape, c.base_width, kernel, stride)
    yield stem
    shape = stem.output
    stem_norm = not (preact and c.family == "cifar")
    if stem_norm:
        yield _norm("stem_norm", shape)
    if c.family == "imagenet":  # max-pool, stride 2
        shape = (-(-shape[0] // 2), -(-shape[1] // 2), shape[2])
    for i, (blocks, width) in enumerate(zip(c.stage_blocks, c.stage_widths, strict=True), start=1):
        for j in range(1, blocks + 1):
            stride = 2 if i > 1 and j == 1 else 1
            skip_norm = preact and stem_norm and (i, j) == (1, 1)
            rows = list(_block(c, f"stage{i}_block{j}", shape, width, stride, skip_norm))
            yield from rows
            shape = rows[-1].output
    if preact:
        yield _norm("final_norm", shape)
    yield Row("head", (1, 1, c.num_classes), (shape[2] + 1) * c.num_classes, shape[2] * c.num_classes)


def _block(c: ModelConfig, name: str, shape: Shape, width: int, stride: int, skip_norm: bool) -> Iterator[Row]:
    preact = c.activation_order == "full_preactivation"
    out = c.expansion * width
    if c.block_kind == "basic":
        convs = [(width, 3, stride), (width, 3, 1)]
    else:
        first, second = (stride, 1) if c.bottleneck_stride == "1x1" else (1, stride)
        convs = [(width, 1, first), (width, 3, second), (out, 1, 1)]
    # The shortcut first, so that the last row of a block has the block's output.
    if c.shortcut == "C" or (c.shortcut == "B" and (stride > 1 or shape[2] != out)):
        projection = _conv(f"{name}/shortcut_conv", shape, out, 1, stride)
        yield projection
        if not preact:
            yield _norm(f"{name}/shortcut_norm", projection.output)
    for k, (features, kernel, s) in enumerate(convs, start=1):
        if preact and not (skip_norm and k == 1):
            yield _norm(f"{name}/norm{k}", shape)
        conv = _conv(f"{name}/conv{k}", shape, features, kernel, s)
        yield conv
        shape = conv.output
        if not preact:
            yield _norm(f"{name}/norm{k}", shape)
