"""Writes the files of a run: gradients, metrics, timings, the trained net and the record."""

import datetime
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from resnet_jax.data.order import epoch_ends
from resnet_jax.models import cost
from resnet_jax.record import WEIGHTS, Cost, DataFacts, Final, GradientLine, MetricsLine, RunRecord, Session
from resnet_jax.training import processes, state as state_lib
from resnet_jax.training.assemble import Assembly
from resnet_jax.training.environment import describe
from resnet_jax.training.mesh import Devices
from resnet_jax.training.metrics import Totals
from resnet_jax.training.observers.base import Observer, Step
from resnet_jax.training.run_directory import RunDirectory
from resnet_jax.training.state import TrainState
from resnet_jax.weights import files


class Spectator(Observer):
    """Does nothing. It replaces the Recorder in all processes except process 0, because only process 0 writes files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def session(self, step: int, *, setup_s: float, compile_s: float) -> None:
        pass

    def timing(self, **values: Any) -> None:
        pass

    def finish(self, state: TrainState) -> None:
        pass

    def diverged(self, step: int) -> None:
        pass


class Recorder(Observer):
    """The observer that writes the files of a run to its directory."""

    def __init__(self, directory: RunDirectory, study: str, assembly: Assembly, devices: Devices) -> None:
        self._directory, self._study, self._assembly, self._devices = directory, study, assembly, devices
        self._config = directory.config  # as given by the user
        self._evaluated: dict[str, Totals] = {}  # the newest results, by split
        self.path = directory.path

    def begin(self, step: int) -> None:
        """Removes the lines of metrics and gradients after `step` iterations, because they will be written again.

        Raises:
          UserError: an earlier line is missing, or exists twice.
        """
        c, examples = self._config.train, len(self._assembly.dataset.train)
        written = epoch_ends(step, examples=examples, batch_size=c.batch_size)
        if step == c.iterations and step not in written:
            written.append(step)
        self._directory.rewind_metrics(step, written)
        if c.gradient_norms_every:
            self._directory.rewind_gradients(step, range(0, step, c.gradient_norms_every))

    def session(self, step: int, *, setup_s: float, compile_s: float) -> None:
        """Adds a line to timings.jsonl when the run is started, or resumed after `step` iterations.

        The run needed `setup_s` seconds for its setup without compilation, and `compile_s` seconds for compilation.
        """
        here, parallel = describe(self._devices), self._config.parallel
        session = Session(
            step, parallel.mode, parallel.devices, here.device, here.cpu_cores, here.code, processes=processes.count()
        )
        self.timing(session=asdict(session), step=step, setup_s=setup_s, compile_s=compile_s)

    def step(self, step: Step) -> None:
        if step.gradient_norms is not None:
            self._directory.append_gradients(GradientLine(step.number - 1, dict(step.gradient_norms)))

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        self._evaluated[split] = totals

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self._directory.append_metrics(line)

    def timing(self, **values: Any) -> None:
        """Adds a line to timings.jsonl. Names of wall-clock seconds end in `_s`."""
        self._directory.append_timing(**values)

    def finish(self, state: TrainState) -> RunRecord:
        """Writes the net and the record of a finished run, from its last state on the host. Returns the record."""
        files.save(self._assembly.weights(state, self.path.name), self.path / WEIGHTS)
        train, test, validation = (self._evaluated.get(split) for split in ("train", "test", "validation"))
        assert train is not None
        assert test is not None
        final = Final(
            step=self._config.train.iterations,
            train_loss=train.mean_loss,
            train_error=train.error,
            train_examples=train.examples,
            test_loss=test.mean_loss,
            test_error=test.error,
            test_examples=test.examples,
            validation_loss=validation.mean_loss if validation else None,
            validation_error=validation.error if validation else None,
            validation_examples=validation.examples if validation else None,
        )
        return self._finish(final, state_lib.fingerprint(state.params), None)

    def diverged(self, step: int) -> RunRecord:
        """Writes and returns the record of a run whose loss was not finite at `step`."""
        return self._finish(None, None, step)

    def _finish(self, final: Final | None, final_fingerprint: str | None, diverged_at: int | None) -> RunRecord:
        assembly, dataset = self._assembly, self._assembly.dataset
        whole = cost.total(assembly.config.model, dataset.image_shape)
        params = assembly.initial.params
        assert whole.parameters == state_lib.count_parameters(params), "the formula disagrees with the net"
        record = RunRecord(
            study=self._study,
            run=self.path.name,
            status="diverged" if final is None else "finished",
            config=self._config,
            data=DataFacts(
                name=dataset.name,
                fingerprint=dataset.fingerprint,
                image_shape=dataset.image_shape,
                num_classes=dataset.num_classes,
                train_examples=len(dataset.train),
                test_examples=len(dataset.test),
            ),
            parameters=whole.parameters,
            multiply_adds=whole.multiply_adds,
            initial_fingerprint=state_lib.fingerprint(params),
            final=final,
            diverged_at_step=diverged_at,
            environment=describe(self._devices),
            cost=self._cost(diverged_at or self._config.train.iterations),
            final_fingerprint=final_fingerprint,
            sessions=tuple(Session(**session) for session in self._sessions()),
            start=assembly.pretrained.facts if assembly.pretrained else None,
        )
        self._directory.finish(record)
        return record

    def _sessions(self) -> list[dict[str, Any]]:
        names = {field.name for field in fields(Session)}
        needed = {field.name for field in fields(Session) if field.default is MISSING}  # fields that all versions have
        # Earlier versions called sessions sittings; a run of an earlier version can be resumed.
        found = [line.get("session", line.get("sitting")) for line in self._directory.timings()]
        return [each for each in found if isinstance(each, dict) and needed <= each.keys() <= names]

    def _cost(self, steps: int) -> Cost:
        lines = self._directory.timings()
        sums = {
            name: sum(line[name] for line in lines if isinstance(line.get(name), float))
            for name in ("setup_s", "compile_s", "train_s", "eval_s")
        }
        waits = [line["input_s"] for line in lines if isinstance(line.get("input_s"), float)]
        return Cost(
            total_s=sum(sums.values()),
            compile_s=sums["compile_s"],
            train_s=sums["train_s"],
            eval_s=sums["eval_s"],
            images_per_second=steps * self._config.train.batch_size / max(sums["train_s"], 1e-9),
            sessions=len(self._sessions()),
            ended=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            input_s=sum(waits) if waits else None,
        )
