"""Draws figures from the JSON files that the instruments of resnet_jax/analysis write."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from resnet_jax.analysis.instruments import instruments
from resnet_jax.errors import UserError
from resnet_jax.record import read_json
from resnet_jax.reports.figures import instruments as plots
from resnet_jax.reports.figures.landscape import landscape
from resnet_jax.reports.figures.paths import path_lengths
from resnet_jax.reports.figures.style import save

Measured = dict[str, Any]


def figures(measured: Measured) -> dict[str, Figure]:
    """Draws the figures of a measurement. The keys are suffixes of file names. Some instruments have no figures.

    Raises:
      UserError: the instrument is unknown, or the measurement is incomplete.
    """
    name = str(measured.get("instrument"))
    if name not in FIGURES:
        if name in instruments():
            return {}
        raise UserError(f"instrument: got {name!r}; legal: {', '.join(instruments())}.")
    try:
        drawn = {suffix: draw_one(measured) for suffix, draw_one in FIGURES[name].items()}
        return {suffix: figure for suffix, figure in drawn.items() if figure is not None}
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"not a complete measurement of {name} ({error!r}).") from error


def draw(file: Path) -> list[Path]:
    """Draws the figures of a measurement as PNG and SVG beside its JSON file, and returns the paths of the figures.

    Raises:
      UserError: the file is missing, damaged, or not a measurement.
    """
    try:
        measured = read_json(file)
        drawn = figures(measured)
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(file)) else f"{file}: {error}") from error
    written = []
    for suffix, figure in drawn.items():
        save(figure, file.parent, file.stem + suffix, about(measured))
        written += [file.parent / f"{file.stem}{suffix}.{kind}" for kind in ("png", "svg")]
    return written


def about(measured: Measured) -> dict[str, str]:
    """The nets, data, code version and command of a measurement, for the metadata of its figures."""
    nets = measured["nets"]
    facts = {
        "Instrument": str(measured["instrument"]),
        "Nets": ", ".join(str(net["name"]) for net in nets),
        "Runs": ", ".join(str(net["run"]) for net in nets if net.get("run")),
        "Data": " ".join(map(str, measured.get("data", {}).values())),
        "Commit": ", ".join(dict.fromkeys(str(net["code"]) for net in nets if net.get("code"))),
        "Measured by": str(measured.get("environment", {}).get("code", "")),
        "Command": str(measured.get("command", "")),
    }
    return {name: text for name, text in facts.items() if text}


FIGURES: Mapping[str, Mapping[str, Callable[[Measured], Figure | None]]] = {
    "layer-responses": {"": plots.layer_responses},
    "gradient-flow": {"": plots.gradient_flow, "-training": plots.gradient_flow_in_training},
    "gradient-identity": {"": plots.gradient_identity},
    "signal-propagation": {"": plots.signal_propagation},
    "lesions": {"": plots.lesions},
    "loss-landscape": {"": landscape},
    "path-lengths": {"": path_lengths},
}
"""Functions that draw figures, by instrument and suffix. They return None if the measurement has no data for the
figure."""
