"""Decides whether a run is comparable with a paper's number: data and recipe must be the paper's.

Source of the recipes: He et al. 2015, Sec. 4.2, and 2016, Appendix.
"""

from typing import Any

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, OptimConfig, TrainConfig, flatten, to_dict
from resnet_jax.record import RunRecord
from resnet_jax.reports.papers.published import (
    TABLE_6,
    TABLES,
    PaperResult,
    PaperRow,
    PaperTable,
    block_of,
    net_fields,
)

# 2015, Sec. 4.2; the docstrings of OptimConfig and TrainConfig describe it. All values are written out here, so that a
# changed default does not change the papers' recipe.
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


def paper_result(record: RunRecord, tables: tuple[PaperTable, ...] = TABLES) -> PaperResult | None:
    """The paper's result for a run; None if the data, the recipe, the net or the depth is not the paper's."""
    for table in tables:
        row = table.row(record.config.model)
        if row is not None and not departures(record, table):
            return row.results[record.config.model.depth]
    return None


def departures(record: RunRecord, table: PaperTable = TABLE_6) -> list[str]:
    """Lists the differences between a run and the nets of a paper's table, as "name: value, not the paper's value".

    The run is compared with the line that has its net. If the table has no such line, it is compared with the first
    line.
    """
    config, found = record.config, []
    row = table.row(config.model) or table.rows[0]
    for name, value in table.data.items():
        if getattr(record.data, name) != value:
            found.append(_departure(f"data set {name}", getattr(record.data, name), value))
    mine = flatten(to_dict(config)) | net_fields(config.model)
    papers = flatten(to_dict(_RECIPE)) | net_fields(config.model, row.changes)
    # Every field counts unless its role says that the papers leave it open. So a new field needs no change here.
    judged = ExperimentConfig.fields_where(lambda role: not role.open_in_papers)
    found += [_departure(n, mine[n], papers[n]) for n in judged if mine[n] != papers[n]]
    return found + _special(config, table, row)


def _special(config: ExperimentConfig, table: PaperTable, row: PaperRow) -> list[str]:
    found = []
    model, norm, optim = config.model, config.model.norm, config.optim
    if model.depth not in row.results:
        found.append(_departure("model.depth", model.depth, f"in {table.source}"))
    if model.block_kind != block_of(model.depth):
        found.append(_departure("model.block", model.block_kind, block_of(model.depth)))
    if model.base_width != 16:
        found.append(_departure("model.width", model.base_width, 16))
    # Batch 128 on two GPUs; each computes statistics over its own 64 images.
    if config.norm_batch != 64:
        found.append(_departure("model.norm", f"{norm.scope}, groups of {config.norm_batch} images", "of 64"))
    legal = table.warmups.get(model.depth, table.warmup)
    if optim.warmup not in legal:
        found.append(_departure("optim.warmup", optim.warmup, " or ".join(legal)))
    # 2016, Appendix: "a smaller learning rate of 0.01 at the beginning 400 iterations".
    if optim.warmup == "iterations" and optim.warmup_iterations != 400:
        found.append(_departure("optim.warmup_iterations", optim.warmup_iterations, 400))
    return found


def _departure(name: str, mine: Any, papers: Any) -> str:
    return f"{name}: {mine}, not {papers}"
