"""The parts of a run's record, as dataclasses, and the names of a run directory's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from resnet_jax.config import ExperimentConfig

SCHEMA = 1
CONFIG_FILE, METRICS_FILE, TIMINGS_FILE, RECORD_FILE = "config.json", "metrics.jsonl", "timings.jsonl", "record.json"
GRADIENTS_FILE = "gradients.jsonl"
STUDY_FILE = "study.json"
"""In the folder of a study: the names of its runs, in the order of the study."""
CHECKPOINTS, WEIGHTS = "checkpoints", "weights"


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl, written at the end of an epoch or of the run."""

    epoch: int
    """Number of completed epochs. The last line of a run may be within the next epoch."""
    step: int
    """Number of completed iterations."""
    learning_rate: float
    """Learning rate of the last step."""
    running_loss: float
    """Mean loss, in nats, of the training batches since the last line, in train mode, while the net changed: the
    cross-entropy, with label smoothing and mixed labels if the run has them."""
    running_error: float
    """Training error of the same batches, a fraction from 0 to 1, as in He et al.'s training curves. For a mixed image,
    the label with the larger share counts."""
    test_loss: float | None
    """Mean cross-entropy on the whole test set, in eval mode, in nats; None if this epoch was not evaluated."""
    test_error: float | None
    """Test error, a fraction from 0 to 1; None if this epoch was not evaluated."""
    validation_loss: float | None = None
    """As `test_loss`, on the validation set; None without one. With one, the test set is evaluated only at the end."""
    validation_error: float | None = None
    """As `test_error`, on the validation set."""


@dataclass(frozen=True)
class GradientLine:
    """One line of gradients.jsonl: the gradient of a training step, on its batch, in train mode."""

    step: int
    """Number of iterations completed before the step: 0 is at the initial values."""
    norms: dict[str, float]
    """Euclidean norm of the gradient of the mean loss (nats), without weight decay, with respect to each kernel, by
    layer name ("stage1_block1/conv1"), in the order of computation."""


@dataclass(frozen=True)
class Final:
    """Results of the net after the last step, in eval mode, with every example counted once."""

    step: int
    """Number of completed iterations."""
    train_loss: float
    """Mean cross-entropy on the training set, in nats."""
    train_error: float
    """Training error, a fraction from 0 to 1."""
    train_examples: int
    """Number of training images."""
    test_loss: float
    """Mean cross-entropy on the test set, in nats."""
    test_error: float
    """Test error, a fraction from 0 to 1."""
    test_examples: int
    """Number of test images."""
    validation_loss: float | None = None
    """Mean cross-entropy on the validation set, in nats; None without one."""
    validation_error: float | None = None
    """Validation error, a fraction from 0 to 1; None without a validation set."""
    validation_examples: int | None = None
    """Number of validation images; None without a validation set."""


@dataclass(frozen=True)
class DataFacts:
    """The data of a run."""

    name: str
    """Name for tables: "digits", "CIFAR-10"."""
    fingerprint: str
    """SHA-256 over the images, labels and class names, shortened to 16 hexadecimal digits."""
    image_shape: tuple[int, int, int]
    """Height and width in pixels, and number of channels."""
    num_classes: int
    """Number of classes."""
    train_examples: int
    """Number of training images, without those held out for validation."""
    test_examples: int
    """Number of test images."""


@dataclass(frozen=True)
class Start:
    """The pretrained net from which a run started."""

    file: str
    """Name of the file without its folder. For a folder of this project's form, the name of the folder and the file."""
    digest: str
    """SHA-256 of the file, shortened to 16 hexadecimal digits."""
    num_classes: int
    """Number of classes of that net; 0 without a last layer. The last layer of the run is new."""


@dataclass(frozen=True)
class Environment:
    """The versions and the machine of a run."""

    code: str
    """Package version and, in a git checkout, the commit ("+changes" if files had changed since)."""
    python: str
    """Version of Python."""
    versions: dict[str, str]
    """Versions of jax, jaxlib, flax, optax, orbax-checkpoint and numpy."""
    xla_flags: str
    """The environment variable XLA_FLAGS."""
    platform: str
    """JAX's name of the platform: "cpu", "gpu" or "tpu"."""
    device: str
    """JAX's name of the kind of device; for a CPU, the name of the processor."""
    devices: int
    """Number of devices of the run, over all processes."""
    cpu_cores: int
    """Number of CPU cores that the process could use. Results repeat to the bit only on the same number."""


@dataclass(frozen=True)
class Session:
    """A part of a run, from one start to its interruption or its end."""

    step: int
    """Number of iterations completed before the session."""
    mode: str
    """`parallel.mode` of the session."""
    devices: int
    """Number of devices, over all processes."""
    device: str
    """Kind of device, as in Environment."""
    cpu_cores: int
    """Number of CPU cores, as in Environment."""
    code: str
    """Version of the code, as in Environment."""
    processes: int = 1
    """Number of processes that shared the devices."""
    together: int = 1
    """Only in records of earlier versions: the number of runs that were stepped together, including this one."""


@dataclass(frozen=True)
class Cost:
    """Time of a run: wall-clock seconds, summed over all sessions."""

    total_s: float
    """Seconds of the whole run, with setup, compilation, training and evaluation."""
    compile_s: float
    """Seconds of compilation."""
    train_s: float
    """Seconds of training steps, without evaluation."""
    eval_s: float
    """Seconds of evaluation."""
    images_per_second: float
    """Training images per second of `train_s`."""
    sessions: int
    """Number of times that the run was started; 1 without interruptions."""
    ended: str
    """Time of the end, UTC, in ISO 8601."""
    input_s: float | None = None
    """Seconds of `train_s` that the run waited for images to be decoded; None if they are in memory."""


@dataclass(frozen=True)
class RunRecord:
    """record.json: the record of a finished run."""

    study: str
    """Name of the study or experiment."""
    run: str
    """Name of the run directory, such as "plain-56-seed0"."""
    status: Literal["finished", "diverged"]
    """"diverged": the loss was not finite; then `final` is None and `diverged_at_step` is set."""
    config: ExperimentConfig
    """The configuration, as given."""
    data: DataFacts
    """The data; see DataFacts."""
    parameters: int
    """Number of trainable parameters."""
    multiply_adds: int
    """Multiply-adds of the forward pass of one image, in convolutions and the last layer."""
    initial_fingerprint: str
    """SHA-256 over the initial parameters (without names, in order), 16 hexadecimal digits; equal for twins."""
    final: Final | None
    """The results; see Final. None if the run diverged."""
    diverged_at_step: int | None
    """Number of the step after which the loss was not finite; None if the run finished."""
    environment: Environment
    """Versions and machine of the last session; see Environment."""
    cost: Cost
    """Time of the run; see Cost."""
    final_fingerprint: str | None = None
    """SHA-256 over the final parameters, as `initial_fingerprint`; equal for runs that are equal to the bit."""
    sessions: tuple[Session, ...] = ()
    """The sessions of the run, in order; see Session."""
    start: Start | None = None
    """The pretrained net; see Start. None: random values."""
    schema: int = SCHEMA
    """Version of this format."""
