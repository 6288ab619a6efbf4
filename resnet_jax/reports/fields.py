"""Configuration fields in reports: which fields differ between runs, and the words for fields and values."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.reports.text import listed

Number = int | float
NETS = frozenset(ExperimentConfig.fields_where(lambda role: role.named))
"""The fields that the name of a net contains: depth, shortcut and order of activations."""
BUDGET = frozenset(ExperimentConfig.fields_where(lambda role: role.compared in ("budget", "warm-up")))
DEPTH, SHORTCUT, WIDTH, MILESTONES = "model.depth", "model.shortcut", "model.width", "optim.milestones"
_SHORTCUTS = {"none": "none (plain)", "identity": "identity", "scale": "scaled"}


def compared(*ways: str) -> frozenset[str]:
    """The dotted names of the configuration fields with certain roles in comparisons.

    Args:
      ways: values of `Role.compared` (config/section.py), such as "net".
    """
    return frozenset(ExperimentConfig.fields_where(lambda role: role.compared in ways))


def values(config: ExperimentConfig) -> dict[str, Any]:
    """The effective value of every field of a configuration, by dotted name.

    A field without effect gets its default value, because a record of an earlier version may have another value there.
    A width of None becomes the papers' width.
    """
    flat = flatten(to_dict(config)) | {name: config.default(name) for name in config.without_effect()}
    flat = {name: list(value) if isinstance(value, tuple) else value for name, value in flat.items()}
    return flat | {WIDTH: config.model.base_width}


def varied(configs: Sequence[ExperimentConfig]) -> tuple[str, ...]:
    """The dotted names of the fields that differ between configurations, in the order of their declaration.

    Seeds, settings of evaluation, locations of images, and operational fields are ignored. Milestones at the same
    fractions of the iterations count as equal.
    """
    silent = compared("seed", "bookkeeping", "never").union(*(config.operational for config in configs))
    flats = [values(config) for config in configs]
    shares = {
        tuple(round(m / config.train.iterations, 3) for m in config.optim.milestones if m < config.train.iterations)
        for config in configs
    }
    if len(shares) == 1:
        silent |= {MILESTONES}
    return tuple(n for n in flats[0] if n not in silent and any(f[n] != flats[0][n] for f in flats))


def word(name: str) -> str:
    """The words for a field in a report, such as "learning rate" for "optim.learning_rate"."""
    return ExperimentConfig.roles()[name].words or name.rsplit(".", 1)[-1].replace("_", " ")


def value_words(name: str, value: Any) -> str:
    """The text for a value of a field, such as "none", "0.05" or "full preactivation"."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return listed([value_words(name, part) for part in value])
    if name == SHORTCUT:
        return _SHORTCUTS.get(value, str(value)).replace("_", " ")
    return str(value).replace("_", " ") if name == "model.activation_order" else str(value)


def words(config: ExperimentConfig, names: Collection[str]) -> str:
    """The text for some fields of a configuration, such as "skips cut: stage2_block3; shortcut: B"."""
    flat = values(config)
    return "; ".join(f"{word(name)}: {value_words(name, flat[name])}" for name in names)


def is_numeric(flats: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a field is a number in every configuration, so that it can be an axis. `flats`: values by dotted name."""
    return all(isinstance(flat[name], int | float) and not isinstance(flat[name], bool) for flat in flats)
