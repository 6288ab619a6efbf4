"""Those who step: this project as its own commands run it, and its peers. All start from the same images.

Ours gathers its batch from the images on the device and normalises it at every step, as in a run. The peers find theirs
on the device already gathered and normalised, in float32: a little less work than ours.
"""

from __future__ import annotations

import importlib
import math
from collections import deque
from typing import Any, Protocol

import numpy as np

from experiments.benchmark.spec import FLAX, INPUTS, OURS, Spec
from resnet_jax.config import ExperimentConfig
from resnet_jax.data import ArraySource, Dataset, Source, load, normalization
from resnet_jax.errors import UserError


class Contestant(Protocol):
    """Something that is timed."""

    steps: int
    """Steps in one call of `run`."""

    def run(self) -> float:
        """All its steps, to the end of the device's work; returns the mean loss that the last one reported."""

    def facts(self) -> dict[str, Any]:
        """What else there is to know of it: memory in bytes, versions."""


def build(spec: Spec) -> Contestant:
    """The contestant of a spec of task "step" or "loop", compiled.

    Raises:
      UserError: it cannot run here, such as PyTorch without the GPU that JAX uses.
    """
    if spec.task == "loop":
        return Loop(spec.config, stream="loop" in spec.contestant)
    if spec.name == OURS:
        return Ours(spec)
    if spec.name == FLAX:
        return Flax(spec)
    return Torch(spec)


def synthetic(config: ExperimentConfig, image_shape: tuple[int, int, int]) -> Source:
    """One batch of noise: images [B, H, W, C] uint8, labels [B] int32."""
    rng = np.random.default_rng(INPUTS.seed)
    assert config.model.num_classes is not None
    images = rng.integers(0, 256, (config.train.batch_size, *image_shape), np.uint8)
    return ArraySource(images, rng.integers(0, config.model.num_classes, len(images), np.int32))


def normalised(config: ExperimentConfig, source: Source) -> Any:
    """All images of a source as our step normalises them: [N, H, W, C] float32."""
    return normalization(source, config.data)(source.take(np.arange(len(source)))).astype(np.float32)


def _compiler_memory(compiled: Any) -> dict[str, int]:
    found = compiled.memory_analysis()
    if found is None:
        return {}
    return {
        "compiler_argument_bytes": found.argument_size_in_bytes,
        "compiler_temporary_bytes": found.temp_size_in_bytes,
    }


def _device_memory(device: Any) -> dict[str, int]:
    """The most that JAX has held on its device; a CPU does not say."""
    stats = device.memory_stats() or {}
    return {"device_peak_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}


class Ours:
    """The steps of a run, by training.program.prepare: compiled with its options, the state donated."""

    def __init__(self, spec: Spec) -> None:
        from resnet_jax.data.order import Batch
        from resnet_jax.training.program import prepare

        config, phase, steps = spec.config, spec.phase, spec.steps
        source = synthetic(config, spec.image_shape)
        # A test set of as many batches as are timed together: the host waits for their sums at its end alone.
        test = source.part(np.tile(np.arange(len(source)), steps))
        names = tuple(map(str, range(config.model.num_classes or 0)))
        self.program = prepare(config, dataset=Dataset("noise", source, test, names))
        self.state = self.program.put(self.program.assembly.initial)
        self.batch = Batch(np.arange(len(source), dtype=np.int32), np.zeros(len(source), np.int32))
        self.at_once = self.program.steps_per_dispatch if phase == "train" else 1
        self.phase, self.steps = phase, self.at_once * math.ceil(steps / self.at_once)

    def run(self) -> float:
        """See Contestant."""
        import jax

        if self.phase == "eval":
            return self.program.evaluate(self.state, "test").mean_loss
        for _ in range(self.steps // self.at_once):
            self.state, report = self.program.train_on(self.state, [self.batch] * self.at_once)
        jax.block_until_ready(self.state)
        sums = self.program.reports(report, self.at_once)[-1].sums
        return float(sums.loss) / float(sums.examples)

    def facts(self) -> dict[str, Any]:
        """See Contestant. The compiler's figures are those of the train step."""
        figures = self.program.memory() if self.phase == "train" else None
        memory = (
            {}
            if figures is None
            else dict(zip(("compiler_argument_bytes", "compiler_temporary_bytes"), figures, strict=True))
        )
        return {**memory, **_device_memory(self.program.devices.first)}


class Loop:
    """An epoch of the training loop: examples in their order, their way to the device, reports back to the host.

    Without `stream` the same steps run on one batch over and over, with nothing fetched but the last report: the step
    alone. Evaluation, records and checkpoints are not of it.
    """

    def __init__(self, config: ExperimentConfig, *, stream: bool) -> None:
        from resnet_jax.data.order import training_batches
        from resnet_jax.training.program import prepare

        self.program = prepare(config, dataset=load(config.data))
        self.state = self.program.put(self.program.assembly.initial)
        examples, batch_size = len(self.program.assembly.dataset.train), config.train.batch_size
        self.batches = training_batches(seed=config.seed, examples=examples, batch_size=batch_size, first_step=0)
        self.first = next(self.batches)
        self.stream, self.steps = stream, math.ceil(examples / batch_size)

    def run(self) -> float:
        """See Contestant."""
        from resnet_jax.training.program import STEPS_AHEAD

        pending: deque[Any] = deque()
        for _ in range(self.steps):
            batch = next(self.batches) if self.stream else self.first
            self.state, report = self.program.train_on(self.state, [batch])
            pending.append(report)
            # As the loop does; the step alone must be bounded as well, or its queue would grow without end.
            if len(pending) > STEPS_AHEAD:
                oldest = pending.popleft()
                self.program.devices.fetch(oldest) if self.stream else oldest.sums.loss.block_until_ready()
        fetched = [self.program.devices.fetch(report) for report in (pending if self.stream else [report])]
        return float(fetched[-1].sums.loss) / float(fetched[-1].sums.examples)

    def facts(self) -> dict[str, Any]:
        """See Contestant."""
        train = self.program.assembly.dataset.train
        return {"data": self.program.assembly.dataset.name, "examples": len(train), "place": self.program.place}


class Flax:
    """The straightforward step: jit, the state donated, optax."""

    def __init__(self, spec: Spec) -> None:
        import jax
        import jax.numpy as jnp

        from experiments.benchmark.peers import flax_resnet

        config, phase = spec.config, spec.phase
        source = synthetic(config, spec.image_shape)
        self.phase, self.steps = phase, spec.steps
        self.images, self.labels = jnp.asarray(normalised(config, source)), jnp.asarray(source.labels)
        model, optimizer, self.state = flax_parts(config, spec.image_shape)
        if phase == "train":
            step = jax.jit(flax_resnet.train_step(model, optimizer), donate_argnums=0)
        else:
            step = jax.jit(flax_resnet.eval_step(model))
        self.step = step.lower(self.state, self.images, self.labels).compile()

    def run(self) -> float:
        """See Contestant."""
        import jax

        for _ in range(self.steps):
            if self.phase == "train":
                self.state, loss = self.step(self.state, self.images, self.labels)
            else:
                loss, _ = self.step(self.state, self.images, self.labels)
                loss = loss / len(self.labels)
        jax.block_until_ready((self.state, loss))
        return float(loss)

    def facts(self) -> dict[str, Any]:
        """See Contestant."""
        import jax

        return {**_compiler_memory(self.step), **_device_memory(jax.devices()[0])}


def flax_parts(config: ExperimentConfig, image_shape: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """The Flax peer of a configuration: net, optimizer, and the state (params, batch_stats, opt_state)."""
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.benchmark.peers.flax_resnet import FlaxResNet

    c, o = config.model, config.optim
    assert c.num_classes is not None
    model = FlaxResNet(
        imagenet=c.family == "imagenet",
        depth=c.depth,
        bottleneck=c.block_kind == "bottleneck",
        projection=c.shortcut == "B",
        plain=c.shortcut == "none",
        classes=c.num_classes,
        dtype=jnp.dtype(c.dtype),
    )
    optimizer = optax.chain(optax.add_decayed_weights(o.weight_decay), optax.sgd(o.learning_rate, o.momentum))
    shape = (1, *image_shape)
    variables = jax.jit(model.init, static_argnames="train")(jax.random.key(config.seed), jnp.zeros(shape), train=False)
    params = variables["params"]
    return model, optimizer, (params, variables["batch_stats"], optimizer.init(params))


class Torch:
    """PyTorch in channels_last, eager or by torch.compile; bfloat16 by autocast, as PyTorch's own recipes do."""

    def __init__(self, spec: Spec) -> None:
        # Not an import statement: PyTorch is no dependency, and type checks must say the same with and without it.
        torch: Any = importlib.import_module("torch")
        peer: Any = importlib.import_module("experiments.benchmark.peers.torch_resnet")
        config, phase, gpu = spec.config, spec.phase, spec.platform == "gpu"
        if gpu and not torch.cuda.is_available():
            raise UserError("JAX computes on a GPU that this PyTorch does not see.")
        self.torch, self.phase, self.steps = torch, phase, spec.steps
        self.device = torch.device("cuda" if gpu else "cpu")
        # On GPUs JAX's float32 products are TensorFloat-32, and so are PyTorch's convolutions; now its others too.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True  # the fastest algorithm, as XLA looks for one
        torch.manual_seed(config.seed)
        c, o, source = config.model, config.optim, synthetic(config, spec.image_shape)
        net = peer.TorchResNet(
            imagenet=c.family == "imagenet",
            depth=c.depth,
            bottleneck=c.block_kind == "bottleneck",
            shortcut=c.shortcut,
            classes=c.num_classes,
            channels=spec.image_shape[-1],
        )
        layout = {"memory_format": torch.channels_last}
        self.net = net.to(self.device, **layout).train(phase == "train")
        self.forward = torch.compile(self.net) if spec.name == "torch-compiled" else self.net
        images = torch.from_numpy(normalised(config, source)).permute(0, 3, 1, 2)
        self.images = images.to(self.device).contiguous(**layout)
        self.labels = torch.from_numpy(source.labels).long().to(self.device)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay
        )
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=c.dtype == "bfloat16")

    def run(self) -> float:
        """See Contestant."""
        step = self._train if self.phase == "train" else self._eval
        for _ in range(self.steps):
            loss = step()
        return float(loss.item())  # which waits for the device

    def _train(self) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = self.torch.nn.functional.cross_entropy(self.forward(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _eval(self) -> Any:
        with self.torch.inference_mode(), self.autocast:
            logits = self.forward(self.images).float()
            self.errors = (logits.argmax(1) != self.labels).sum()
            return self.torch.nn.functional.cross_entropy(logits, self.labels)

    def facts(self) -> dict[str, Any]:
        """See Contestant."""
        found: dict[str, Any] = {"torch": self.torch.__version__, "torch_threads": self.torch.get_num_threads()}
        if self.device.type == "cuda":
            found["device_peak_bytes"] = self.torch.cuda.max_memory_allocated()
        return found
