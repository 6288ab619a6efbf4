"""`--log tensorboard`: writes event files to `<run directory>/tensorboard` by tensorboardX, without TensorFlow."""

import time
from collections.abc import Mapping

from tensorboardX import SummaryWriter

from resnet_jax.training.observers.base import Sink

FOLDER = "tensorboard"


class TensorBoard(Sink):
    """Writes a new event file each time the run is started or resumed.

    If a run is resumed, TensorBoard hides the steps in older files that the new file repeats.
    """

    _writer: SummaryWriter | None = None

    def open(self, step: int) -> None:
        # The suffix has nanoseconds, because the run may be resumed in the second in which the last file was named.
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
