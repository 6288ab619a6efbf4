# ruff: noqa: RUF001  # full-width punctuation and × are what the headings need
"""The tables of docs/derivation.md: what the nets cost, by formula, and gradients at the start of training, measured.

    python -m experiments.derivation                     # all tables; --language=zh for derivation.zh.md
    python -m experiments.derivation --measure           # first measure the gradients anew, into --record

A test compares the documents with what this prints. Gradients are of the mean loss of a run's first batch with respect
to the kernels that the run starts from, in float64, so that they repeat on any machine to many digits. Cost: a second;
with --measure some minutes on 2 CPU cores, most of it compilation.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from experiments import cli
from experiments.configs import experiments
from resnet_jax.config import IMAGENET_STAGES, ExperimentConfig, ModelConfig, override
from resnet_jax.models import summary
from resnet_jax.record import read_json, write_atomically

Language = Literal["en", "zh"]
RECORD = Path("docs/records/gradients-at-start.json")
IMAGE = (224, 224, 3)
RESNET_152 = ModelConfig(family="imagenet", depth=152, shortcut="B", num_classes=1000)
# He et al. 2015, Table 1, "FLOPs": 10^9 multiply-adds.
PAPER = {18: 1.8, 34: 3.6, 50: 3.8, 101: 7.6, 152: 11.3}

# The nets whose gradients are measured, on the digits and with their recipe.
NETS = (
    {"model.shortcut": "none"},
    {"model.shortcut": "A"},
    {"model.shortcut": "A", "model.activation_order": "full_preactivation"},
)
DEPTHS, SEEDS = (8, 20, 56, 110), (0, 1, 2)

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "layers": "layers",
        "output": "output",
        "parameters": "parameters",
        "multiply-adds": "multiply-adds",
        "images": "image",
        "pool": "3×3 max-pool, stride 2",
        "conv": "{k}×{k} conv, {c}",
        "stride": "stride 2",
        "stage": "stage {i}: {n} blocks of {convs}",
        "average": "average over all pixels",
        "linear": "linear layer",
        "total": "total",
        "name": "name",
        "depth": "depth",
        "units": "blocks per stage",
        "unit": "block",
        "basic": "basic",
        "bottleneck": "bottleneck",
        "table1": "2015, Table 1",
        "weights": "weights",
        "times": "of the bottleneck",
        "net": "net",
        "first": "first conv of stage 1",
        "last": "last conv",
        "ratio": "ratio",
        "growth": "per layer of stage 1",
    },
    "zh": {
        "layers": "层",
        "output": "输出",
        "parameters": "参数",
        "multiply-adds": "乘加次数",
        "images": "图像",
        "pool": "3×3 最大池化，步长 2",
        "conv": "{k}×{k} 卷积，{c}",
        "stride": "步长 2",
        "stage": "第 {i} 阶段：{n} 个块，每个为 {convs}",
        "average": "对所有像素取平均",
        "linear": "线性层",
        "total": "合计",
        "name": "名称",
        "depth": "深度",
        "units": "各阶段的块数",
        "unit": "残差块",
        "basic": "基本",
        "bottleneck": "瓶颈",
        "table1": "2015，表 1",
        "weights": "权重",
        "times": "与瓶颈之比",
        "net": "网络",
        "first": "第 1 阶段的首个卷积",
        "last": "最后一个卷积",
        "ratio": "比值",
        "growth": "第 1 阶段每层",
    },
}


@dataclass(frozen=True)
class Derivation:
    """Prints the tables of docs/derivation.md."""

    language: Language = "en"
    """Of the headings."""
    record: Path = RECORD
    """JSON file of the measured gradients."""
    measure: bool = False
    """Measure the gradients first and write `record`."""


def main(argv: list[str] | None = None) -> int:
    """Parses, measures where asked to, prints the tables; returns the exit status."""
    chosen = tyro.cli(Derivation, args=argv, prog="python -m experiments.derivation", description=__doc__)
    if chosen.measure:
        os.environ["JAX_ENABLE_X64"] = "1"  # before JAX is imported
        write_atomically(chosen.record, _to_json(measure()))
    print("\n\n".join(tables(chosen.record, chosen.language)))
    return cli.OK


def tables(record: Path, language: Language) -> list[str]:
    """All tables in the order of the document.

    Raises:
      UserError: `record` is no JSON file.
      OSError: it cannot be read.
    """
    words = WORDS[language]
    rows = read_json(record, "measure it anew with --measure")["rows"]
    return [gradient_table(rows, words), stage_table(words), unit_table(words), depth_table(words), cost_table(words)]


def stage_table(words: dict[str, str]) -> str:
    """ResNet-152 from image to logits."""
    c = RESNET_152
    stem, *stages, _ = summary.stages(c, IMAGE)
    head = summary.layers(c, IMAGE)[-1]
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
        [words["total"], "", *_cost(summary.total(c, IMAGE))],
    ]
    return _table([words[key] for key in ("layers", "output", "parameters", "multiply-adds")], rows, numbers=2)


def unit_table(words: dict[str, str]) -> str:
    """The first two units of ResNet-152's second stage, layer by layer."""
    blocks = ("stage2_block1", "stage2_block2")
    rows = [
        [f"`{row.name}`", _shape(row.output), *_cost(row)]
        for row in summary.layers(RESNET_152, IMAGE)
        if row.name.split("/")[0] in blocks
    ]
    return _table([words[key] for key in ("name", "output", "parameters", "multiply-adds")], rows, numbers=2)


def depth_table(words: dict[str, str]) -> str:
    """The five ImageNet nets, with 1000 classes and projections where the shape changes."""
    rows = []
    for depth, blocks in IMAGENET_STAGES.items():
        config = dataclasses.replace(RESNET_152, depth=depth)
        units = ", ".join(map(str, blocks))
        cost = _cost(summary.total(config, IMAGE))
        rows.append([str(depth), units, words[config.block_kind], *cost, f"{PAPER[depth]} × 10⁹"])
    keys = ("depth", "units", "unit", "parameters", "multiply-adds", "table1")
    return _table([words[key] for key in keys], rows, numbers=3)


def cost_table(words: dict[str, str]) -> str:
    """Convolutions of one unit at 56x56 pixels: a bottleneck, two 3x3 at its width, two 3x3 at a quarter of it."""
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
    return _table([words[key] for key in keys], rows, numbers=3)


def gradient_table(rows: Sequence[dict[str, Any]], words: dict[str, str]) -> str:
    """Norms of the kernels' gradients: medians over seeds, with the lowest and the highest ratio."""
    cells = []
    for net, depth in dict.fromkeys((row["net"], row["depth"]) for row in rows):
        found = [row["norms"] for row in rows if (row["net"], row["depth"]) == (net, depth)]
        first, last = (statistics.median(norms[k] for norms in found) for k in (1, -1))
        ratios = sorted(norms[1] / norms[-1] for norms in found)
        growth = statistics.median(growth_per_layer(norms) for norms in found)
        ratio = f"{_figures(statistics.median(ratios))} ({_figures(ratios[0])} – {_figures(ratios[-1])})"
        cells.append([net, str(depth), _figures(first), _figures(last), ratio, f"{growth:.3f}"])
    keys = ("net", "depth", "first", "last", "ratio", "growth")
    return _table([words[key] for key in keys], cells, numbers=4)


def growth_per_layer(norms: Sequence[float]) -> float:
    """Geometric mean over neighbouring convs of stage 1, all of one shape, from the last to the first.

    Args:
      norms: of every conv's gradient: the stem's, then those of three equally long stages.
    """
    stage = norms[1 : 1 + (len(norms) - 1) // 3]
    return float((stage[0] / stage[-1]) ** (1 / (len(stage) - 1)))


def measure() -> list[dict[str, Any]]:
    """A row for each net, depth and seed."""
    rows = []
    for changes in NETS:
        for depth in DEPTHS:
            config = override(
                experiments()["digits-resnet"], {**changes, "model.depth": depth, "model.dtype": "float64"}
            )
            print(f"{config.model.net}-{depth}", file=sys.stderr)
            for seed, norms in zip(SEEDS, gradient_norms(config, SEEDS), strict=True):
                rows.append({"net": config.model.net, "depth": depth, "seed": seed, "norms": norms})
    return rows


def gradient_norms(config: ExperimentConfig, seeds: Sequence[int]) -> Iterator[list[float]]:
    """For each seed, the Euclidean norm of every conv kernel's gradient at the start, from the input to the end.

    The loss is the mean over the run's first batch, in train mode, without augmentation. A float64 net needs x64 mode.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from resnet_jax.data import load, normalization
    from resnet_jax.data.augment import normalize
    from resnet_jax.data.batches import training_batches
    from resnet_jax.models.resnet import build
    from resnet_jax.models.stacking import stack, unstack
    from resnet_jax.training import optim
    from resnet_jax.training.metrics import cross_entropy
    from resnet_jax.training.setup import resolve, run_keys
    from resnet_jax.training.state import create

    dataset = load(config.data, lambda text: None)
    c = resolve(config.model, dataset)
    stats = normalization(dataset.train.images, config.data)
    model, scanned = build(c), build(c).clone(scanned=True)

    @jax.jit
    def gradient(params: Any, batch_stats: Any, images: Any, labels: Any) -> Any:
        def loss(params: Any) -> Any:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, _ = scanned.apply(variables, images, train=True, mutable=["batch_stats"])
            return cross_entropy(logits, labels).mean()

        return jax.grad(loss)(params)

    for seed in seeds:
        state = jax.device_get(create(model, optim.sgd(config.optim), run_keys(seed)[0], dataset.image_shape))
        size = config.train.batch_size
        batch = next(training_batches(seed=seed, examples=len(dataset.train), batch_size=size, first_step=0))
        mean, std = (jnp.asarray(s, jnp.dtype(c.dtype)) for s in (stats.mean, stats.std))
        images = normalize(jnp.asarray(dataset.train.images[batch.index]), mean, std)
        labels = jnp.asarray(dataset.train.labels[batch.index])
        params, batch_stats = stack(state.params, c), stack(state.batch_stats, c)
        found = unstack(jax.device_get(gradient(params, batch_stats, images, labels)), c)
        names = [row.name.split("/") for row in summary.layers(c, dataset.image_shape) if "conv" in row.name]
        kernels = [found[module] if not inner else found[module][inner[0]] for module, *inner in names]
        yield [float(np.linalg.norm(kernel["kernel"])) for kernel in kernels]


def _convs(config: ModelConfig, image_shape: summary.Shape, block: str) -> tuple[int, int]:
    """Weights and multiply-adds of a block's convolutions."""
    rows = [row for row in summary.layers(config, image_shape) if row.name.startswith(f"{block}/conv")]
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def _cost(row: summary.Row) -> list[str]:
    return [f"{row.parameters:,}", f"{row.multiply_adds:,}"]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _figures(value: float) -> str:
    """Two significant figures, without an exponent below a million."""
    return f"{float(f'{value:.2g}'):,.10g}" if value < 1e6 else f"{value:.1e}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """Markdown, the last `numbers` columns to the right."""
    left = len(headings) - numbers
    lines = [headings, ["-"] * left + ["-:"] * numbers, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _to_json(rows: list[dict[str, Any]]) -> str:
    """A line for each row."""
    rounded = ({**row, "norms": [float(f"{norm:.10g}") for norm in row["norms"]]} for row in rows)
    lines = ",\n".join(json.dumps(row) for row in rounded)
    return f'{{"command": "python -m experiments.derivation --measure", "rows": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    cli.run_main(main)
