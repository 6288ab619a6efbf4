"""The parts of a run's record, as dataclasses, and the names of a run directory's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from resnet_jax.config import ExperimentConfig

SCHEMA = 1
CONFIG_FILE, METRICS_FILE, TIMINGS_FILE, RECORD_FILE = "config.json", "metrics.jsonl", "timings.jsonl", "record.json"
GRADIENTS_FILE = "gradients.jsonl"
STUDY_FILE = "study.json"
"""In a study's folder: the names of its runs, in the order of the study."""
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
