"""Options and measurement of the instrument "loss-landscape"."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnet_jax.analysis.options import Options, Workspace
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.record import read_json

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class LossLandscape(Options):
    """The loss around a trained net along random directions, on a line or on a plane. Each filter of a
    direction is scaled to the norm of the net's filter at the same position. Directions change only kernels; BN scales
    and biases do not change.

    Source: Li et al. 2018 (arXiv 1712.09913), Sec. 4. Cost: a pass over the images for each point, about 5 minutes for
    25 x 25 points of ResNet-56 on 512 digits. After an interruption, the same command resumes after the last finished
    row.
    """

    split: Literal["train", "test"] = "train"
    """The split of the images."""
    dimensions: Literal[1, 2] = 2
    """1 for a line, 2 for a plane."""
    points: int = 25
    """Number of points along each direction, from -span to span. It must be odd, so that the net itself is a point."""
    span: float = 1.0
    """Largest distance from the net along each direction. At distance 1, every filter has changed by its own norm."""
    batch_stats: Literal["running", "recomputed"] = "recomputed"
    """The BN statistics at each point. "recomputed": computed from the images in batches, as in training, so that the
    loss is the one that SGD minimises. "running": the running statistics of the trained net, as in Li et al.'s code;
    they do not fit the changed weights."""

    def _check(self) -> None:
        super()._check()
        self._require(self.points >= 3 and self.points % 2 == 1, "points", "an odd number of at least 3")
        self._require(self.span > 0.0, "span", "a number above 0")


OPTIONS = LossLandscape


def measure(net: Net, options: LossLandscape, workspace: Workspace) -> dict[str, Any]:
    """Returns the coordinates along a direction, the loss and error at each point, and the duration, for a JSON file.

    Losses and errors have the shape [points] for one direction, and [points][points] for two, where the first index
    belongs to the first direction. After each row, all rows so far are written to `workspace.scratch`.
    """
    from resnet_jax.analysis.loss_landscape import Landscape, PointValues, random_directions
    from resnet_jax.training.state import fingerprint

    examples = net.examples(options.split, options.images, options.seed)
    params = net.variables["params"]
    landscape = Landscape(
        net.model,
        net.variables,
        random_directions(params, options.dimensions, options.seed),
        examples.images,
        examples.labels,
        net.config.norm_batch,
        options.batch_stats == "recomputed",
    )
    # Symmetric to the bit, with the net itself in the middle.
    half = options.points // 2
    along = options.span * np.arange(-half, half + 1) / half
    rows = [along[:, None]] if options.dimensions == 1 else [np.stack([0 * along + a, along], 1) for a in along]
    key = {"parameters": fingerprint(net.variables), "data": net.dataset.fingerprint, **asdict(options)}
    done = _kept(workspace.scratch, key)
    with workspace.progress(len(rows) - len(done), net.name) as advance:
        for points in rows[len(done) :]:
            start = time.monotonic()
            ground = landscape.at(points)
            row = {name: values.tolist() for name, values in ground._asdict().items()}
            done.append({**row, "seconds": round(time.monotonic() - start, 3)})
            if workspace.scratch is not None:
                write_atomically(workspace.scratch, json.dumps({"of": key, "rows": done}) + "\n")
            advance()
    found = {name: [row[name] for row in done] for name in PointValues._fields}
    if options.dimensions == 1:
        found = {name: rows[0] for name, rows in found.items()}
    seconds = round(sum(row["seconds"] for row in done), 1)  # over all sessions
    return {"along": along.tolist(), "images": landscape.images, "seconds": seconds, **found}


def _kept(scratch: Path | None, key: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an interrupted measurement of the same net, with the same data and options."""
    if scratch is None or not scratch.exists():
        return []
    try:
        kept = read_json(scratch)
    except UserError:
        return []  # the file is cut short: its rows are measured again
    rows: list[dict[str, Any]] = kept["rows"] if kept.get("of") == key else []
    return rows
