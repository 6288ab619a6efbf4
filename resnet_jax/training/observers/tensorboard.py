"""`--log tensorboard`: event files in `<run directory>/tensorboard`, for `tensorboard --logdir runs`.

They are written by tensorboardX, which does not need TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tensorboardX import SummaryWriter

from resnet_jax.training.observers.base import Sink

FOLDER = "tensorboard"


class TensorBoard(Sink):
    """One event file for each session, with the step from which TensorBoard must ignore earlier files."""

    _writer: SummaryWriter | None = None

    def open(self, step: int) -> None:
        # Two sessions may begin in the same second, and the rest of a file's name has only the second.
        self._writer = SummaryWriter(
            str(self.directory / FOLDER), purge_step=step + 1, filename_suffix=f".{time.time_ns()}"
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


SINK = TensorBoard
