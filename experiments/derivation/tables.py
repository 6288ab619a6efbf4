# ruff: noqa: RUF001  # full-width punctuation and × are what the headings need
"""The tables of docs/derivation.md as Markdown, in English or Chinese. This module does not import JAX."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.derivation.gradients import growth_per_layer
from experiments.printed import markdown
from resnet_jax.config import IMAGENET_STAGES, ModelConfig
from resnet_jax.models import cost
from resnet_jax.record import read_json

Language = Literal["en", "zh"]
IMAGE = (224, 224, 3)
RESNET_152 = ModelConfig(family="imagenet", depth=152, shortcut="B", num_classes=1000)
# He et al. 2015, Table 1, "FLOPs", in 10^9 multiply-adds.
PAPER = {18: 1.8, 34: 3.6, 50: 3.8, 101: 7.6, 152: 11.3}

_BOTH = {
    "layers": ("layers", "层"),
    "output": ("output", "输出"),
    "parameters": ("parameters", "参数"),
    "multiply-adds": ("multiply-adds", "乘加次数"),
    "images": ("image", "图像"),
    "pool": ("3×3 max-pool, stride 2", "3×3 最大池化，步长 2"),
    "conv": ("{k}×{k} conv, {c}", "{k}×{k} 卷积，{c}"),
    "stride": ("stride 2", "步长 2"),
    "stage": ("stage {i}: {n} blocks of {convs}", "第 {i} 阶段：{n} 个块，每个为 {convs}"),
    "average": ("average over all pixels", "对所有像素取平均"),
    "linear": ("linear layer", "线性层"),
    "total": ("total", "合计"),
    "name": ("name", "名称"),
    "depth": ("depth", "深度"),
    "units": ("blocks per stage", "各阶段的块数"),
    "unit": ("block", "残差块"),
    "basic": ("basic", "基本"),
    "bottleneck": ("bottleneck", "瓶颈"),
    "table1": ("2015, Table 1", "2015，表 1"),
    "weights": ("weights", "权重"),
    "times": ("of the bottleneck", "与瓶颈之比"),
    "net": ("net", "网络"),
    "first": ("first conv of stage 1", "第 1 阶段的首个卷积"),
    "last": ("last conv", "最后一个卷积"),
    "ratio": ("ratio", "比值"),
    "growth": ("per layer of stage 1", "第 1 阶段每层"),
}
"""Headings by key, in English and in Chinese."""
WORDS: dict[Language, dict[str, str]] = {
    language: {key: words[i] for key, words in _BOTH.items()} for i, language in enumerate(get_args(Language))
}


def tables(record: Path, language: Language) -> list[str]:
    """All tables in the order of the document.

    Raises:
      UserError: `record` is not a JSON file.
      OSError: `record` cannot be read.
    """
    words = WORDS[language]
    rows = read_json(record, "measure it anew with --measure")["rows"]
    return [gradient_table(rows, words), stage_table(words), unit_table(words), cost_table(words), depth_table(words)]


def stage_table(words: dict[str, str]) -> str:
    """The table of ResNet-152, stage by stage, from the image to the logits."""
    c = RESNET_152
    stem, *stages, _ = cost.stages(c, IMAGE)
    head = cost.layers(c, IMAGE)[-1]
    height, width, channels = stem.output
    conv = words["conv"].format(k=7, c=channels)
    rows = [
        [words["images"], _shape(IMAGE), "", ""],
        [f"{conv}, {words['stride']}; BN; ReLU", _shape(stem.output), *_cost(stem)],
        [words["pool"], _shape((height // 2, width // 2, channels)), "0", "0"],
    ]
    for i, (row, n, w) in enumerate(zip(stages, c.stage_blocks, c.stage_widths, strict=True), start=1):
        convs = "; ".join(words["conv"].format(k=k, c=f) for k, f in ((1, w), (3, w), (1, c.expansion * w)))
        rows.append([words["stage"].format(i=i, n=n, convs=convs), _shape(row.output), *_cost(row)])
    rows += [
        [words["average"], str(stages[-1].output[-1]), "0", "0"],
        [words["linear"], str(c.num_classes), *_cost(head)],
        [words["total"], "", *_cost(cost.total(c, IMAGE))],
    ]
    return markdown([words[key] for key in ("layers", "output", "parameters", "multiply-adds")], rows, numbers=2)


def unit_table(words: dict[str, str]) -> str:
    """The table of the first two blocks of ResNet-152's second stage, layer by layer."""
    blocks = ("stage2_block1", "stage2_block2")
    rows = [
        [f"`{row.name}`", _shape(row.output), *_cost(row)]
        for row in cost.layers(RESNET_152, IMAGE)
        if row.name.split("/")[0] in blocks
    ]
    return markdown([words[key] for key in ("name", "output", "parameters", "multiply-adds")], rows, numbers=2)


def depth_table(words: dict[str, str]) -> str:
    """The table of the five ImageNet nets, with 1000 classes and with projections where the shape changes."""
    rows = []
    for depth, blocks in IMAGENET_STAGES.items():
        config = dataclasses.replace(RESNET_152, depth=depth)
        units = ", ".join(map(str, blocks))
        numbers = _cost(cost.total(config, IMAGE))
        rows.append([str(depth), units, words[config.block_kind], *numbers, f"{PAPER[depth]} × 10⁹"])
    keys = ("depth", "units", "unit", "parameters", "multiply-adds", "table1")
    return markdown([words[key] for key in keys], rows, numbers=3)


def cost_table(words: dict[str, str]) -> str:
    """The table of the cost of a bottleneck block at 56x56 pixels, and of blocks of two 3x3 convs for comparison."""
    pixels = (56, 56, 3)
    pair = ModelConfig(depth=8, width=256, num_classes=2)
    units = {
        ((1, 256, 64), (3, 64, 64), (1, 64, 256)): _convs(RESNET_152, IMAGE, "stage1_block2"),
        ((3, 256, 256), (3, 256, 256)): _convs(pair, pixels, "stage1_block1"),
        ((3, 64, 64), (3, 64, 64)): _convs(dataclasses.replace(RESNET_152, depth=34), IMAGE, "stage1_block2"),
    }
    (unit, *_), rows = units.values(), []
    for convs, (weights, products) in units.items():
        what = "; ".join(f"{k}×{k}, {c} → {f}" for k, c, f in convs)
        rows.append([what, f"{weights:,}", f"{products:,}", f"{products / unit[1]:.2f}"])
    keys = ("layers", "weights", "multiply-adds", "times")
    return markdown([words[key] for key in keys], rows, numbers=3)


def gradient_table(rows: Sequence[dict[str, Any]], words: dict[str, str]) -> str:
    """The table of gradient norms in the first conv of stage 1 and in the last conv, and their ratio: medians over
    seeds."""
    cells = []
    for net, depth in dict.fromkeys((row["net"], row["depth"]) for row in rows):
        found = [row["norms"] for row in rows if (row["net"], row["depth"]) == (net, depth)]
        first, last = (statistics.median(norms[k] for norms in found) for k in (1, -1))
        ratios = sorted(norms[1] / norms[-1] for norms in found)
        growth = statistics.median(growth_per_layer(norms) for norms in found)
        ratio = f"{_figures(statistics.median(ratios))} ({_figures(ratios[0])} – {_figures(ratios[-1])})"
        cells.append([net, str(depth), _figures(first), _figures(last), ratio, f"{growth:.3f}"])
    keys = ("net", "depth", "first", "last", "ratio", "growth")
    return markdown([words[key] for key in keys], cells, numbers=4)


def _convs(config: ModelConfig, image_shape: cost.Shape, block: str) -> tuple[int, int]:  # weights, multiply-adds
    rows = [row for row in cost.layers(config, image_shape) if row.name.startswith(f"{block}/conv")]
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def _cost(row: cost.LayerCost) -> list[str]:
    return [f"{row.parameters:,}", f"{row.multiply_adds:,}"]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _figures(value: float) -> str:  # two significant figures, no exponent
    return f"{value:#.2g}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"
