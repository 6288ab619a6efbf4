"""The paper's numbers, and when a run may stand beside them.

He et al. 2015 (arXiv 1512.03385), CIFAR-10. A number of the paper is shown only next to runs whose data and
recipe are the paper's (Sec. 4.2); on anything else the comparison would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, OptimConfig, TrainConfig, flatten, to_dict
from resnet_jax.record import RunRecord

SOURCE = "He et al. 2015, Table 6"


@dataclass(frozen=True)
class PaperResult:
    """A test error on CIFAR-10, a fraction."""

    test_error: float
    std: float | None = None
    """Over the paper's five runs; Table 6 gives one for depth 110 alone."""


# Table 6: ResNets with option A. 110 layers: "6.61 ± 0.16", mean of five runs, of which the best has 6.43.
# Plain nets have no table: Fig. 6 draws them.
TABLE_6: Mapping[int, PaperResult] = {
    20: PaperResult(0.0875),
    32: PaperResult(0.0751),
    44: PaperResult(0.0717),
    56: PaperResult(0.0697),
    110: PaperResult(0.0661, 0.0016),
    1202: PaperResult(0.0793),
}

_DATA = {
    "name": "CIFAR-10",
    "image_shape": (32, 32, 3),
    "num_classes": 10,
    "train_examples": 50_000,
    "test_examples": 10_000,
}

# Sec. 4.2, in words in the docstring of OptimConfig and TrainConfig; written out here so that a changed default
# does not change what the paper did.
_RECIPE = ExperimentConfig(
    model=ModelConfig(family="cifar", block="basic", shortcut="A", activation_order="original", width=16),
    data=DataConfig(normalize="pixel_mean", pad=4, flip=True),
    optim=OptimConfig(
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        milestones=(32_000, 48_000),
        decay_factor=0.1,
        warmup_rate=0.01,
        warmup_error=0.8,
    ),
    train=TrainConfig(iterations=64_000, batch_size=128),
)

# Fields the paper leaves open, that change nothing in the result, or that `_special` judges by the run's depth.
# A field that neither stands here nor differs from its default is the paper's; so a new field that somebody
# turns on takes a run out of the comparison without a word here.
_FREE = {
    "seed",
    "model.depth",
    "model.block",
    "model.width",
    "model.num_classes",
    "model.shortcut_padding",  # the paper says which channels are zero nowhere
    "model.bottleneck_stride",  # basic blocks have none
    "model.norm.scope",
    "model.norm.ghost_size",
    "data.source",  # DataFacts say what the data were
    "data.name",
    "data.path",
    "data.bad_images",
    "data.split_seed",  # of no effect without a subset or a validation set
    "data.placement",
    "optim.warmup",
    "optim.warmup_iterations",
    "optim.warmup_smoothing",
    "train.eval_batch_size",
    "train.eval_every",
    "train.checkpoint_steps",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.accumulation",  # what it does to BN is looked at below
    "model.remat",
    "model.stages",
    "parallel.mode",
    "parallel.devices",
}


def paper_result(record: RunRecord) -> PaperResult | None:
    """The paper's number for this very run, or None where data, recipe or depth are not the paper's."""
    return None if departures(record) else TABLE_6[record.config.model.depth]


def departures(record: RunRecord) -> list[str]:
    """Fields in which a run departs from the paper's CIFAR-10 ResNets, as "name: value, not the paper's value"."""
    config, found = record.config, []
    for name, value in _DATA.items():
        if getattr(record.data, name) != value:
            found.append(_departure(f"data set {name}", getattr(record.data, name), value))
    mine, papers = flatten(to_dict(config)), flatten(to_dict(_RECIPE))
    found += [_departure(n, mine[n], papers[n]) for n in mine if n not in _FREE and mine[n] != papers[n]]
    return found + _special(config)


def _special(config: ExperimentConfig) -> list[str]:
    found = []
    model, norm = config.model, config.model.norm
    if model.depth not in TABLE_6:
        found.append(_departure("model.depth", model.depth, "in Table 6"))
    if model.block_kind != "basic":
        found.append(_departure("model.block", model.block_kind, "basic"))
    if model.base_width != 16:
        found.append(_departure("model.width", model.base_width, 16))
    # Batch 128 on two GPUs, each with statistics of its own 64 images.
    if config.norm_batch != 64:
        found.append(_departure("model.norm", f"{norm.scope}, groups of {config.norm_batch} images", "of 64"))
    # 110 layers start at rate 0.01; 1202 layers are "trained as described above", which may or may not include that.
    legal = {110: ("error",), 1202: ("none", "error")}.get(model.depth, ("none",))
    if config.optim.warmup not in legal:
        found.append(_departure("optim.warmup", config.optim.warmup, " or ".join(legal)))
    return found


def _departure(name: str, mine: Any, papers: Any) -> str:
    return f"{name}: {mine}, not {papers}"
