"""What a run leaves behind: the files of a run directory and their schema, for the loop that writes them
and the reports that read them. Nothing here imports JAX.

A run directory `runs/<study>/<run>/` holds

| file              | what                                                                              |
|-------------------|-----------------------------------------------------------------------------------|
| `config.json`     | the run's ExperimentConfig, written first                                         |
| `metrics.jsonl`   | one `MetricsLine` per epoch, appended; the same whatever interruptions there were |
| `gradients.jsonl` | one `GradientLine` every `train.gradient_norms_every` steps, in the same way      |
| `timings.jsonl`   | wall-clock seconds and sessions, apart, since they never repeat                   |
| `record.json`     | the `RunRecord`, written last and atomically: its presence means finished         |
| `checkpoints/`    | where an interrupted run goes on from                                             |
| `weights/`        | the net of the last step, as resnet_jax.weights writes and reads it               |

and `runs/<study>/study.json` lists the study's runs in its order.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from resnet_jax.config import ExperimentConfig, flatten, from_dict, to_dict
from resnet_jax.errors import UserError

_T = TypeVar("_T")

SCHEMA = 1
_OTHER_VERSION = "read it with the version that wrote it"
CONFIG_FILE, METRICS_FILE, TIMINGS_FILE, RECORD_FILE = "config.json", "metrics.jsonl", "timings.jsonl", "record.json"
GRADIENTS_FILE = "gradients.jsonl"
STUDY_FILE = "study.json"
"""In a study's folder: the names of its runs, in the order of the study."""
PLACES = frozenset(ExperimentConfig.fields_where(lambda role: role.of == "place"))
"""Fields that say where the images lie. They tell no run from another: a run's data are known by their fingerprint."""
CHECKPOINTS, WEIGHTS = "checkpoints", "weights"


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl, at the end of an epoch or of the run. Errors are fractions of the examples."""

    epoch: int
    """Epochs completed; the run's last line may stand inside the next."""
    step: int
    """Iterations completed."""
    learning_rate: float
    """The rate of the last step."""
    running_loss: float
    """Mean loss of the training batches since the last line, as the net changed, in train mode: the cross-entropy, with
    label smoothing and mixed labels where the run has them."""
    running_error: float
    """Training error in the same sense: He et al.'s training curves. A mixed image counts by the label with the larger
    share of it."""
    test_loss: float | None
    test_error: float | None
    """On the whole test set, in eval mode; None where this epoch was not evaluated."""
    validation_loss: float | None = None
    validation_error: float | None = None
    """On the validation set, where the run has one; then the test set waits for the last step."""


@dataclass(frozen=True)
class GradientLine:
    """One line of gradients.jsonl: the gradient that a training step follows, on its own batch, in train mode."""

    step: int
    """Iterations completed before it was taken: 0 is at the initial values."""
    norms: dict[str, float]
    """Euclidean norm of the gradient of the mean loss, without weight decay, with respect to each layer's kernel, by
    the layer's name ("stage1_block1/conv1"), in the order of computation."""


@dataclass(frozen=True)
class Final:
    """The net of the last step, in eval mode, every example counted once. Errors are fractions."""

    step: int
    train_loss: float
    train_error: float
    train_examples: int
    test_loss: float
    test_error: float
    test_examples: int
    validation_loss: float | None = None
    validation_error: float | None = None
    validation_examples: int | None = None


@dataclass(frozen=True)
class DataFacts:
    """The data a run saw."""

    name: str
    """As one would write it in a table: "digits", "CIFAR-10"."""
    fingerprint: str
    """SHA-256 over the arrays and class names, shortened to 16 hexadecimal digits."""
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    num_classes: int
    train_examples: int
    test_examples: int


@dataclass(frozen=True)
class Start:
    """The net in a file that a run started from."""

    file: str
    """Its name, without the folders it lay in; in a folder of this project's own form, with that folder's."""
    digest: str
    """SHA-256 of the file, shortened to 16 hexadecimal digits."""
    num_classes: int
    """Number of classes of that net; 0 where it has no last layer. The run has a new one."""


@dataclass(frozen=True)
class Environment:
    """Where a run ran."""

    code: str
    """Package version and, in a git checkout, the commit ("+changes" where the checkout was not clean)."""
    python: str
    versions: dict[str, str]
    """Versions of jax, jaxlib, flax, optax, orbax-checkpoint, numpy."""
    xla_flags: str
    platform: str
    device: str
    """Kind of device, as JAX names it; for a CPU the processor's name."""
    devices: int
    cpu_cores: int
    """Visible to the process: results repeat bit for bit on the same number alone."""


@dataclass(frozen=True)
class Session:
    """A part of a run, from one start to its interruption or its end."""

    step: int
    """The steps that had been done when it began."""
    mode: str
    devices: int
    device: str
    cpu_cores: int
    code: str
    processes: int = 1
    """Processes that shared the devices."""
    together: int = 1
    """In records of earlier versions: the number of runs that were stepped together, this one included."""


@dataclass(frozen=True)
class Cost:
    """Wall-clock seconds, over all sessions of an interrupted run."""

    total_s: float
    compile_s: float
    train_s: float
    """Inside the training loop, evaluation excluded."""
    eval_s: float
    images_per_second: float
    """Training images over `train_s`."""
    sessions: int
    """Times the run was started: 1 where nothing interrupted it."""
    ended: str
    """UTC, ISO 8601."""
    input_s: float | None = None
    """The part of `train_s` for which the run waited for images to be decoded; None where they lie in memory."""


@dataclass(frozen=True)
class RunRecord:
    """record.json: a finished run."""

    study: str
    run: str
    """Name of the run directory, such as "plain-56-seed0"."""
    status: Literal["finished", "diverged"]
    """"diverged": the loss stopped being a finite number; then `final` is None and `diverged_at_step` is set."""
    config: ExperimentConfig
    """As given."""
    data: DataFacts
    parameters: int
    multiply_adds: int
    """Multiply-adds of one image's forward pass, convolutions and the last layer."""
    initial_fingerprint: str
    """SHA-256 over the initial parameters (names left out, in order), 16 hexadecimal digits: equal for twins."""
    final: Final | None
    diverged_at_step: int | None
    environment: Environment
    cost: Cost
    final_fingerprint: str | None = None
    """The same over the parameters after the last step: equal for runs that are equal to the bit."""
    sessions: tuple[Session, ...] = ()
    """Where each session ran; one where nothing interrupted the run."""
    start: Start | None = None
    """What it was fine-tuned from; None: random values."""
    schema: int = SCHEMA


def record_to_json(record: RunRecord) -> str:
    """The text of record.json."""
    values = dataclasses.asdict(record) | {"config": to_dict(record.config)}
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def read_record(path: Path) -> RunRecord:
    """The record in a file.

    Raises:
      UserError: the file cannot be read, is cut short, or is of another schema; the message names it.
    """
    return record_from(read_json(path), path)


def record_from(values: dict[str, Any], path: Path) -> RunRecord:
    """The record in the values of a record.json at `path`; raises as `read_record`."""
    if values.get("schema", SCHEMA) != SCHEMA:
        raise UserError(f"{path}: a record of schema {values['schema']}, not {SCHEMA}; {_OTHER_VERSION}.")
    try:
        values = _with_sessions(values)
        final = values["final"]
        parts = {
            "config": from_dict(_mapping(values["config"])),
            "data": _part(DataFacts, values["data"] | {"image_shape": tuple(values["data"]["image_shape"])}),
            "final": None if final is None else _part(Final, final),
            "environment": _part(Environment, values["environment"]),
            "cost": _part(Cost, _with_sessions(values["cost"])),
            "start": _part(Start, values["start"]) if values.get("start") else None,
            "sessions": tuple(_part(Session, session) for session in values.get("sessions", ())),
        }
        record = _part(RunRecord, values | parts)
        finished = record.final is not None and record.diverged_at_step is None
        diverged = record.final is None and record.diverged_at_step is not None
        if not {"finished": finished, "diverged": diverged}[record.status]:
            raise ValueError(f"status {record.status!r} does not fit the rest")
        if record.final is not None:
            _check_final(record.final, record.data)
        return record
    except UserError as error:  # a field or a value that this version does not know
        said = str(error).rstrip(".?")
        raise UserError(f"{path}: not a record of this version ({said}); {_OTHER_VERSION}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a run record ({error}); move it away to run this run again.") from error


def _check_final(final: Final, data: DataFacts) -> None:
    """The numbers must be able to be true."""
    for name in ("train_error", "test_error"):
        if not 0.0 <= getattr(final, name) <= 1.0:
            raise ValueError(f"{name} is {getattr(final, name)}, no fraction between 0 and 1")
    for name in ("train_examples", "test_examples"):
        if getattr(final, name) != getattr(data, name):
            raise ValueError(f"{name} is {getattr(final, name)}, but the data set has {getattr(data, name)}")


def _with_sessions(values: Any) -> dict[str, Any]:
    """A record's part as this version names it: earlier versions called sessions sittings."""
    return {"sessions" if name == "sittings" else name: value for name, value in _mapping(values).items()}


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _part(cls: type[_T], values: Any) -> _T:
    """An instance of a record's part, its numbers and texts checked for their types."""
    legal: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "str": (str,)}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every part is a dataclass
        kinds = legal.get(str(field.type))
        if field.name not in _mapping(values) and field.default is not dataclasses.MISSING:
            continue  # written by a version that did not have it yet
        value = values[field.name]
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise TypeError(f"{field.name} is {value!r}")
    return cls(**values)


def read_metrics(path: Path) -> list[MetricsLine]:
    """The lines of a metrics.jsonl; a last line cut short by a crash is left out.

    Raises:
      UserError: the file is missing, or a line that is not the last is damaged.
    """
    return _read_lines(path, MetricsLine)


def read_gradients(path: Path) -> list[GradientLine]:
    """The lines of a gradients.jsonl, as `read_metrics` reads those of its file."""
    return _read_lines(path, GradientLine)


def ends_half_written(path: Path) -> bool:
    """Whether the last line of a metrics.jsonl or gradients.jsonl is cut short: all others end as they were written."""
    return path.exists() and not _read_text(path).endswith("\n")


def _read_lines(path: Path, cls: type[_T]) -> list[_T]:
    texts = _read_text(path).splitlines()
    lines: list[_T] = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(_part(cls, json.loads(text)))
        except (ValueError, TypeError, KeyError) as error:
            if number == len(texts):
                break
            raise UserError(f"{path}: line {number} is damaged ({error}).") from error
    return lines


def read_config(path: Path) -> ExperimentConfig:
    """The configuration in a config.json.

    Raises:
      UserError: the file is missing, damaged, or holds fields this version does not know.
    """
    values = read_json(path, "delete the run directory to run anew")
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def differences(a: ExperimentConfig, b: ExperimentConfig) -> list[str]:
    """The fields in which two runs differ, as "name: a's value, b's value".

    Left out are fields that say how a run is carried out (`operational`), and fields that have no effect in either.
    Where the images lie (`PLACES`) is left out too: who takes two runs for one has to compare their data. Milestones
    and warm-up are compared in iterations, whichever way they are written.
    """
    a, b = a.in_iterations(), b.in_iterations()
    left, right, free = flatten(to_dict(a)), flatten(to_dict(b)), (a.operational & b.operational) | PLACES
    free |= a.without_effect().keys() & b.without_effect().keys()
    names = (name for name in left if name not in free and left[name] != right[name])
    return [f"{name}: {left[name]!r}, {right[name]!r}" for name in names]


def read_json(path: Path, advice: str = "delete it to do without it") -> dict[str, Any]:
    """The JSON object in a file; `advice` says what to do with one that is damaged.

    Raises:
      UserError: the file cannot be read or does not hold one JSON object.
    """
    try:
        values = json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: damaged or half-written ({error}); {advice}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object; {advice}.")
    return values


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged, not text.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
