"""The CIFAR nets of github.com/akamaster/pytorch_resnet_cifar10: 6n+2 layers, and bottlenecks of 9n+2."""

from __future__ import annotations

from resnet_jax.config import ModelConfig
from resnet_jax.weights.formats.base import Format, Found, Told, staged_module


class Akamaster(Format):
    """Three stages; option A, its zero channels on both sides, or option B. Files are of nets inside DataParallel."""

    name = "akamaster"
    prefix = "module."

    def net(self, found: Found) -> Told | None:
        stages = found.stages
        if not found.has_stages() or len(stages) == 4:
            return None
        per_block = 6 if found.block == "basic" else 9
        depth = per_block * stages[0] + 2 if len(stages) == 3 and len(set(stages)) == 1 else None
        shortcut = "B" if any(".shortcut." in name for name in found.shapes) else "A"
        model = found.model(
            depth=depth,
            head="linear",
            usual_width=16,
            family="cifar",
            shortcut=shortcut,
            shortcut_padding="both" if shortcut == "A" else "end",
        )
        return Told(model, found.axes("conv1.weight", 4)[1])

    def writes(self, model: ModelConfig) -> bool:
        return model.family == "cifar"

    def module(self, name: str) -> str:
        return staged_module(name, head="linear", shortcut="shortcut")


FORMAT = Akamaster()
