"""The dataclasses of a run's record, and the names of the files in a run directory."""

from dataclasses import dataclass
from typing import Literal

from resnet_jax.config import ExperimentConfig

SCHEMA = 1
CONFIG_FILE, METRICS_FILE, TIMINGS_FILE, RECORD_FILE = "config.json", "metrics.jsonl", "timings.jsonl", "record.json"
GRADIENTS_FILE = "gradients.jsonl"
STUDY_FILE = "study.json"
"""Name of the file in a study's folder that lists the names of the study's runs."""
CHECKPOINTS, WEIGHTS = "checkpoints", "weights"


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl, written at the end of an epoch or of the run."""

    epoch: int
    """Number of completed epochs. If the run ends within an epoch, the last line does not count this epoch."""
    step: int
    """Number of completed iterations."""
    learning_rate: float
    """Learning rate of the last step."""
    running_loss: float
    """Mean training loss in nats over the batches since the previous line, in train mode. The parameters change from
    batch to batch. The loss is the cross-entropy, with label smoothing and mixed labels if the run uses them."""
    running_error: float
    """Training error of the same batches, a fraction from 0 to 1, as in He et al.'s training curves. For a mixed image,
    the label with the larger share counts."""
    test_loss: float | None
    """Mean cross-entropy on the whole test set, in eval mode, in nats; None if this epoch was not evaluated."""
    test_error: float | None
    """Test error, a fraction from 0 to 1; None if this epoch was not evaluated."""
    validation_loss: float | None = None
    """As `test_loss`, but on the validation set; None without a validation set. With a validation set, the test set is
    evaluated only at the end of the run."""
    validation_error: float | None = None
    """As `test_error`, but on the validation set."""


@dataclass(frozen=True)
class GradientLine:
    """One line of gradients.jsonl: norms of the gradient of one training step, on the step's batch, in train mode."""

    step: int
    """Number of iterations completed before the step; 0 means the gradient at the initial values."""
    norms: dict[str, float]
    """Euclidean norm of the gradient with respect to each kernel, by layer name ("stage1_block1/conv1"), in the order
    of computation. The gradient is that of the mean loss in nats, without weight decay."""


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
    """The data set of a run."""

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
    """Name of the weights file, without its folder. For a folder that resnet_jax.weights wrote: the name of the folder
    and of the file."""
    digest: str
    """SHA-256 of the file, shortened to 16 hexadecimal digits."""
    num_classes: int
    """Number of classes of the pretrained net; 0 if it has no last layer. The run starts with a new last layer."""


@dataclass(frozen=True)
class Environment:
    """The software versions and the machine of a run."""

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
    """Number of CPU cores that the process could use. Results are equal to the bit only for equal numbers of cores."""


@dataclass(frozen=True)
class Session:
    """A part of a run without interruption: from a start to the next interruption, or to the end of the run."""

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
    """Number of runs, including this one, that an earlier version trained together in one step. Now always 1."""


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
    """Seconds of `train_s` in which the run waited for decoded images; None if all images are in memory."""


@dataclass(frozen=True)
class RunRecord:
    """The record of a finished or diverged run, stored in record.json."""

    study: str
    """Name of the study or experiment."""
    run: str
    """Name of the run directory, such as "plain-56-seed0"."""
    status: Literal["finished", "diverged"]
    """ "diverged": the loss was not finite. Then `final` is None and `diverged_at_step` is set."""
    config: ExperimentConfig
    """The configuration of the run."""
    data: DataFacts
    """The data; see DataFacts."""
    parameters: int
    """Number of trainable parameters."""
    multiply_adds: int
    """Multiply-adds of the forward pass of one image, in the convolutions and the last layer."""
    initial_fingerprint: str
    """SHA-256 over the values of the initial parameters, without their names, shortened to 16 hexadecimal digits. It is
    equal for a plain net and a residual net with the same initial parameters."""
    final: Final | None
    """The results; see Final. None if the run diverged."""
    diverged_at_step: int | None
    """Number of the step after which the loss was not finite; None if the run finished."""
    environment: Environment
    """Versions and machine of the last session; see Environment."""
    cost: Cost
    """Time of the run; see Cost."""
    final_fingerprint: str | None = None
    """SHA-256 over the values of the final parameters, as in `initial_fingerprint`. It is equal if two runs are equal
    to the bit. None if the run diverged, and in records of earlier versions."""
    sessions: tuple[Session, ...] = ()
    """The sessions of the run, in order; see Session."""
    start: Start | None = None
    """The pretrained net from which the run started; None if the run started from random values."""
    schema: int = SCHEMA
    """Version of this format."""
