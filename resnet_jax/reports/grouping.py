"""Groups runs into variants, and variants into comparisons.

- A *variant* has the runs on one data set whose configurations differ only in the seed.
- Variants of one study on one data set are compared, whichever fields differ. Variants of different studies are
  compared only if they differ in nothing but the net, the warm-up, the iterations and the learning rate. The attribute
  `Role.compared` of each field (config/section.py) decides this.
- If only these fields differ, and a kind of net has several depths, the comparison shows the effect of depth. Its main
  table has the nets with one recipe. Nets with other iterations or learning rates are a control experiment: they test
  whether the nets were only trained too little.
- In all other cases, the comparison shows the effect of the fields that differ. If possible, one numeric field becomes
  the x-axis, and a second field distinguishes lines. Otherwise each variant is a row, and one variant is the baseline.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from resnet_jax.config import ExperimentConfig
from resnet_jax.reports import fields
from resnet_jax.reports.comparison import Axis, Comparison, Variant
from resnet_jax.reports.runs import Run

# Largest number of lines in a panel; smallest number of points on an axis: two points are shown as two rows.
MOST_LINES, LEAST_POINTS = 6, 3


def comparisons(runs: Iterable[Run], order: Mapping[str, int] | None = None) -> tuple[Comparison, ...]:
    """Groups runs into variants and variants into comparisons. The comparison with the most variants comes first.

    Args:
      runs: runs with a record.
      order: position of each run in its study, by the run's name. Runs that are not in it come last, ordered by name.
    """
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(_key(run, fields.compared("seed")), []).append(run)
    found = [_comparison(members, order or {}) for members in _components(list(variants.values()))]
    return tuple(sorted(found, key=lambda comparison: -len(comparison.cells)))


def _components(variants: Sequence[list[Run]]) -> list[list[list[Run]]]:
    blind = fields.compared("seed", "net", "shortcut", "warm-up", "bookkeeping", "budget")
    groups: list[tuple[set[str], list[list[Run]]]] = []
    for members in variants:
        marks = {_key(run, blind) for run in members}
        marks |= {f"{run.record.study} on {run.record.data.fingerprint}" for run in members}
        joined = [group for group in groups if group[0] & marks]
        groups = [group for group in groups if group not in joined]
        groups.append((marks.union(*(g[0] for g in joined)), [*(v for g in joined for v in g[1]), members]))
    return [group for _, group in groups]


def _comparison(variants: list[list[Run]], order: Mapping[str, int]) -> Comparison:
    configs = [members[0].record.config for members in variants]
    varied = fields.varied(configs)
    if set(varied) <= fields.NETS | fields.BUDGET | {fields.MILESTONES, "model.block"}:
        found = _by_depth(variants)
        if any(found.deeper_cells(net) for net in found.nets):
            return found
    return _by_fields(variants, varied, order)


def _by_depth(variants: Sequence[list[Run]]) -> Comparison:
    setting_blind = fields.compared("seed", "net", "shortcut", "warm-up", "bookkeeping")
    settings: dict[str, list[list[Run]]] = {}
    for members in variants:
        settings.setdefault(_key(members[0], setting_blind), []).append(members)

    def nets(setting: list[list[Run]]) -> int:
        return len({(m[0].record.config.model.net, m[0].record.config.model.depth) for m in setting})

    base = max(settings.values(), key=lambda s: (nets(s), s[0][0].record.config.train.iterations))
    cells = _variants(base)
    # The control shows the schedule beside each net, so the name of a net omits it.
    others = [
        variant
        for setting in settings.values()
        if setting is not base
        for variant in _variants(setting, unnamed=fields.compared("warm-up"))
    ]
    return Comparison(
        "depth",
        fields.varied([cell.config for cell in cells]),
        tuple(sorted(cells, key=lambda v: (v.depth, not v.is_plain, v.net))),
        tuple(sorted(others, key=lambda v: (not v.is_plain, v.net, v.depth, v.iterations, -v.rate))),
    )


def _by_fields(variants: list[list[Run]], varied: tuple[str, ...], order: Mapping[str, int]) -> Comparison:
    def place(members: list[Run]) -> tuple[float, str]:
        return min(order.get(run.record.run, float("inf")) for run in members), members[0].record.run

    variants = sorted(variants, key=place)
    flats = [fields.values(members[0].record.config) for members in variants]
    base = flats[0] if variants[0][0].record.run in order else min(flats, key=lambda flat: _oddity(flat, flats, varied))
    cells = []
    for members, flat in zip(variants, flats, strict=True):
        config = members[0].record.config
        # Fields without effect, such as milestones with a cosine schedule, are not differences.
        changed = [name for name in varied if flat[name] != base[name] and name not in config.without_effect()]
        alone = f"{config.model.net}-{config.model.depth}" if len(variants) == 1 else "baseline"
        label = fields.words(config, changed) if changed else alone
        cells.append(Variant(tuple(sorted(members, key=lambda run: run.seed)), config.model.net, label))
    axis = find_axis(cells, varied)
    if axis is not None:
        cells = [cell for _, points in axis.lines for cell in points]
    else:
        cells.sort(key=lambda cell: cell.label != "baseline")
    return Comparison("fields", varied, tuple(cells), axis=axis)


def _oddity(flat: Mapping[str, Any], flats: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> tuple[int, int]:
    # The numbers of differences from the other variants and from the defaults.
    defaults = fields.values(ExperimentConfig())
    return (
        sum(flat[name] != other[name] for other in flats for name in varied),
        sum(flat[name] != defaults[name] for name in varied),
    )


def find_axis(cells: Sequence[Variant], varied: tuple[str, ...]) -> Axis | None:
    """Chooses the numeric field for the x-axis: the depth, or else the field with the most values.

    Returns None if no field is suitable. The axis needs at least three values, every line needs at least two points,
    and at most six lines are drawn.
    """
    flats = {id(cell): fields.values(cell.config) for cell in cells}
    several = [n for n in varied if fields.is_numeric(list(flats.values()), n)]
    found = {name: {flat[name] for flat in flats.values()} for name in several}
    for field in sorted(found, key=lambda name: (name != fields.DEPTH, -len(found[name]))):
        rest = [name for name in varied if name != field]
        lines: dict[str, list[Variant]] = {}
        for cell in cells:
            lines.setdefault(fields.words(cell.config, rest), []).append(cell)
        # Numbers are sorted; categories keep the study's order, with plain nets first, as in every figure.
        if rest and fields.is_numeric(list(flats.values()), rest[0]):
            lines = dict(sorted(lines.items(), key=lambda line: flats[id(line[1][0])][rest[0]]))
        else:
            lines = dict(sorted(lines.items(), key=lambda line: not line[1][0].is_plain))
        shortest = min(len(points) for points in lines.values())
        if len(found[field]) >= LEAST_POINTS and shortest >= 2 and len(lines) <= MOST_LINES:
            ordered = ((label, sorted(points, key=lambda c: flats[id(c)][field])) for label, points in lines.items())
            return Axis(field, tuple((label, tuple(points)) for label, points in ordered))
    return None


def _variants(setting: list[list[Run]], unnamed: Collection[str] = ()) -> list[Variant]:
    named: dict[tuple[str, int], list[list[Run]]] = {}
    for members in setting:
        model = members[0].record.config.model
        named.setdefault((model.net, model.depth), []).append(members)
    variants = []
    for (net, _), alike in named.items():
        apart = [n for n in fields.varied([members[0].record.config for members in alike]) if n not in unnamed]
        for members in alike:
            label = f"{net} ({fields.words(members[0].record.config, apart)})" if apart else net
            variants.append(Variant(tuple(sorted(members, key=lambda run: run.seed)), label))
    return variants


def _key(run: Run, blind: Collection[str]) -> str:
    config = run.record.config
    unseen = {*blind, *config.operational, *fields.compared("never")}
    visible = {name: value for name, value in fields.values(config).items() if name not in unseen}
    return json.dumps([run.record.data.fingerprint, visible], sort_keys=True)
