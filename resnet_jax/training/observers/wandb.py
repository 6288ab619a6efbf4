"""`--log wandb`: a run of Weights & Biases, in the project named after the study. WANDB_MODE=offline works too."""

import uuid
from collections.abc import Mapping

import wandb

from resnet_jax.config import to_dict
from resnet_jax.training.observers.base import Sink

FOLDER, RUN_ID = "wandb", "run_id"


class WeightsAndBiases(Sink):
    """Writes the numbers of a run to Weights & Biases. A resumed run continues its earlier entry there.

    A resumed run may write some steps again. The service ignores a step that it already has.
    """

    _run: wandb.Run | None = None

    def open(self, step: int) -> None:
        self._run = wandb.init(
            project=self.study,
            name=self.directory.name,
            id=self._run_id(),
            resume="allow",
            dir=str(self.directory),
            config=to_dict(self.config),
            # Weights & Biases prints no lines of its own, and does not copy the display.
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        assert self._run is not None
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _run_id(self) -> str:
        """A random id, kept in the run directory, so that a resumed run has the same id."""
        file = self.directory / FOLDER / RUN_ID
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        return file.read_text(encoding="utf-8")


SINK = WeightsAndBiases
