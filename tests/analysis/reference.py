"""Small nets with values everywhere, and the same nets written out in NumPy, float64."""

from typing import Any

import jax
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import ResNet, build

Array = npt.NDArray[np.float64]
CLASSES = 3


def small(depth: int = 14, **changes: Any) -> tuple[ResNet, Any]:
    """A net in float64 (x64 mode must be on), two blocks a stage, whose BN has scales, biases and statistics."""
    values = {"width": 3, "num_classes": CLASSES, "dtype": "float64", **changes}
    model = build(ModelConfig(depth=depth, **values))
    rng = np.random.default_rng(depth)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 4, 4, 1)), train=False))

    def draw(path: Any, leaf: Any) -> Array:
        name = path[-1].key
        if name == "kernel":
            return rng.standard_normal(leaf.shape) * np.sqrt(2.0 / np.prod(leaf.shape[:-1]))
        return rng.uniform(0.5, 1.5, leaf.shape) if name in ("scale", "var") else 0.3 * rng.standard_normal(leaf.shape)

    return model, jax.tree_util.tree_map_with_path(draw, shapes)


def examples(number: int, size: int = 4) -> tuple[Array, npt.NDArray[np.int32]]:
    """Random images [number, size, size, 1] and labels."""
    rng = np.random.default_rng(number)
    return rng.standard_normal((number, size, size, 1)), rng.integers(0, CLASSES, number, np.int32)


class NumPyNet:
    """A net of basic blocks with option A or none, original order or full pre-activation."""

    def __init__(self, model: ResNet, variables: Any, *, train: bool = False, deleted: tuple[str, ...] = ()) -> None:
        self.config, self.params, self.stats = model.config, variables["params"], variables["batch_stats"]
        self.train, self.deleted = train, deleted
        self.responses: dict[str, Array] = {}
        """Output of each 3x3 conv, or of the BN right after it."""

    def conv(self, x: Array, name: str, stride: int = 1) -> Array:
        kernel = self._of(self.params, name)["kernel"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]  # N H W C kh kw
        self.responses[name] = np.tensordot(windows, kernel, axes=((3, 4, 5), (2, 0, 1)))
        return self.responses[name]

    def norm(self, x: Array, name: str, after: str | None = None) -> Array:
        params, stats = self._of(self.params, name), self._of(self.stats, name)
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if self.train else (stats["mean"], stats["var"])
        y: Array = params["scale"] * (x - mean) / np.sqrt(var + 1e-5) + params["bias"]
        if after is not None:
            self.responses[after] = y
        return y

    def block(self, x: Array, name: str, stride: int) -> Array:
        features = self.params[name]["conv1"]["kernel"].shape[-1]
        if self.config.activation_order == "original":
            y = np.maximum(self.norm(self.conv(x, f"{name}/conv1", stride), f"{name}/norm1", f"{name}/conv1"), 0.0)
            y = self.norm(self.conv(y, f"{name}/conv2"), f"{name}/norm2", f"{name}/conv2")
            return np.maximum(y + self.shortcut(x, stride, features), 0.0)
        first = name == "stage1_block1"
        active = np.maximum(self.norm(x, f"{name}/norm1", "stem_conv" if first else None), 0.0)
        y = self.norm(self.conv(active, f"{name}/conv1", stride), f"{name}/norm2", f"{name}/conv1")
        y = self.conv(np.maximum(y, 0.0), f"{name}/conv2")
        return y + self.shortcut(active if first else x, stride, features)

    def shortcut(self, x: Array, stride: int, features: int) -> Array:
        if self.config.is_plain:
            return np.zeros(())
        return np.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, features - x.shape[3])))

    def __call__(self, images: Array) -> Array:
        """Logits [N, classes]."""
        x = self.conv(images, "stem_conv")
        original = self.config.activation_order == "original"
        if original:
            x = np.maximum(self.norm(x, "stem_norm", "stem_conv"), 0.0)
        for i, blocks in enumerate(self.config.stage_blocks, start=1):
            for j in range(1, blocks + 1):
                name = f"stage{i}_block{j}"
                if name not in self.deleted:
                    x = self.block(x, name, 2 if i > 1 and j == 1 else 1)
        if not original:
            x = np.maximum(self.norm(x, "final_norm"), 0.0)
        head = self.params["head"]
        logits: Array = x.mean((1, 2)) @ head["kernel"] + head["bias"]
        return logits

    def _of(self, tree: Any, name: str) -> Any:
        for part in name.split("/"):
            tree = tree[part]
        return tree


def cross_entropy(logits: Array, labels: npt.NDArray[np.int32]) -> float:
    """Mean over images, in nats."""
    top = logits.max(1, keepdims=True)
    normaliser = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return float((normaliser - logits[np.arange(len(labels)), labels]).mean())
