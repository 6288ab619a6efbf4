"""The contestants of the benchmark that use PyTorch. They do not import JAX: its threads would slow PyTorch."""

import importlib
from typing import Any

from experiments.benchmark.noise import normalised, synthetic
from experiments.benchmark.spec import Spec
from resnet_jax.errors import UserError


class Torch:
    """Contestant: steps in PyTorch, either eager or compiled by torch.compile.

    Images have the memory format channels_last. For bfloat16, autocast chooses the dtype of each operation.

    Raises:
      UserError: JAX computes on a GPU that PyTorch does not see.
    """

    def __init__(self, spec: Spec) -> None:
        # Imported by name, because mypy must give the same result with and without PyTorch.
        torch: Any = importlib.import_module("torch")
        peer: Any = importlib.import_module("experiments.benchmark.peers.torch_resnet")
        config, phase, gpu = spec.config, spec.phase, spec.platform == "gpu"
        if gpu and not torch.cuda.is_available():
            raise UserError("PyTorch does not see the GPU on which JAX computes; install PyTorch with CUDA.")
        self.torch, self.phase, self.steps = torch, phase, spec.steps
        self.device = torch.device("cuda" if gpu else "cpu")
        # On GPUs, JAX computes float32 products in TensorFloat-32; this setting lets PyTorch do the same.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True  # searches for the fastest algorithm, as XLA does
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
        step = self._train if self.phase == "train" else self._eval
        for _ in range(self.steps):
            loss = step()
        return float(loss.item())  # waits for the device

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
        found: dict[str, Any] = {"torch": self.torch.__version__, "torch_threads": self.torch.get_num_threads()}
        if self.device.type == "cuda":
            found["device_peak_bytes"] = self.torch.cuda.max_memory_allocated()
        return found
