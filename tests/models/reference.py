"""The nets of both papers in NumPy, formula by formula: a slow double of resnet_jax/models that shares no line with it.

Train mode: each BN normalises by the statistics of what it is given.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from resnet_jax.config import ModelConfig

Array = Any
EPSILON = 1e-5


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """[N, H, W, C] and [K, K, C, F]; padded by (K - 1) / 2 on each side."""
    size = kernel.shape[0]
    pad = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel)


def bn(x: Array, p: Any) -> Array:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(var + EPSILON) * p["scale"] + p["bias"]


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def option_a(x: Array, stride: int, features: int) -> Array:
    out = np.zeros((x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride), features))
    out[..., : x.shape[3]] = x[:, ::stride, ::stride]
    return out


# A row for each shortcut: values of its own fields that are not their defaults, and h(x) + F(x), by x in the shape of F
# (identity, option A or projection), the residual f, the gate g and dropout's mask m.
Formula = Callable[[Callable[[], Array], Array, Callable[[], Array], Array], Array]
SHORTCUTS: dict[str, tuple[dict[str, Any], Formula]] = {
    "none": ({}, lambda x, f, g, m: f),
    "A": ({}, lambda x, f, g, m: x() + f),
    "B": ({}, lambda x, f, g, m: x() + f),
    "C": ({}, lambda x, f, g, m: x() + f),
    "identity": ({}, lambda x, f, g, m: x() + f),
    "scale": ({"shortcut_scale": 0.7, "residual_scale": 0.3}, lambda x, f, g, m: 0.7 * x() + f),
    "exclusive_gate": ({"gate_bias": -0.4}, lambda x, f, g, m: (1.0 - g()) * x() + g() * f),
    "shortcut_gate": ({"gate_bias": 0.3}, lambda x, f, g, m: (1.0 - g()) * x() + f),
    "dropout": ({"shortcut_dropout": 0.3}, lambda x, f, g, m: m * x() + f),
}


def unit(
    x: Array, p: Any, c: ModelConfig, stride: int, first: bool, cut: bool, weigh: Callable[[Array], Array], mask: Array
) -> Array:
    """One residual unit (He et al. 2016, Eq. 1 and Fig. 4): `weigh` is stochastic depth, `mask` that of dropout."""
    bottleneck = c.block_kind == "bottleneck"
    strides = [stride, 1, 1] if bottleneck else [stride, 1]
    n = len(strides)
    conv_ = lambda i, y: conv(y, p[f"conv{i}"]["kernel"], strides[i - 1])  # noqa: E731
    bn_ = lambda i, y: bn(y, p[f"norm{i}"])  # noqa: E731
    features = p[f"conv{n}"]["kernel"].shape[3]
    changes = stride > 1 or x.shape[3] != features
    name = "none" if cut else c.shortcut
    projects = name == "C" or (changes and (name == "B" or (bottleneck and name not in ("none", "A"))))

    skip, y = x, x
    match c.activation_order:
        case "original":  # Fig. 4a: weight BN ReLU weight BN + ReLU
            for i in range(1, n + 1):
                y = bn_(i, conv_(i, y))
                y = relu(y) if i < n else y
            after: Callable[[Array], Array] = relu
        case "bn_after_addition":  # Fig. 4b: weight BN ReLU weight + BN ReLU
            for i in range(1, n):
                y = relu(bn_(i, conv_(i, y)))
            y = conv_(n, y)
            after = lambda z: relu(bn_(n, z))  # noqa: E731
        case "relu_before_addition":  # Fig. 4c: weight BN ReLU weight BN ReLU +
            for i in range(1, n + 1):
                y = relu(bn_(i, conv_(i, y)))
            after = lambda z: z  # noqa: E731
        case "relu_only_preactivation":  # Fig. 4d: ReLU weight BN ReLU weight BN +
            for i in range(1, n + 1):
                if i == 1 and (projects or first):
                    skip = relu(y)
                y = bn_(i, conv_(i, relu(y)))
            after = lambda z: z  # noqa: E731
        case "full_preactivation":  # Fig. 4e: BN ReLU weight BN ReLU weight +
            for i in range(1, n + 1):
                y = relu(bn_(i, y))
                if i == 1 and (projects or first):
                    skip = y
                y = conv_(i, y)
            after = lambda z: z  # noqa: E731

    residual = y
    if c.skip_init is not None:
        residual = p["skip_init"]["alpha"] * residual
    residual = weigh(c.residual_scale * residual)

    def identity() -> Array:
        if not projects:
            return option_a(skip, stride, features)
        projected = conv(skip, p["shortcut_conv"]["kernel"], stride)
        return projected if c.activation_order == "full_preactivation" else bn(projected, p["shortcut_norm"])

    def g() -> Array:
        gate = p["shortcut_gate"]
        return sigmoid(conv(skip, gate["kernel"], stride) + gate["bias"])

    _, join = SHORTCUTS[name]
    return after(join(identity, residual, g, mask))


def net(
    images: Array,
    params: Any,
    c: ModelConfig,
    cut: frozenset[str] = frozenset(),
    weights: dict[str, float] | None = None,
    masks: dict[str, Array] | None = None,
) -> Array:
    """Logits of a CIFAR net; `weights` and `masks` by block: what stochastic depth and dropout multiply by."""
    full = c.activation_order == "full_preactivation"
    x = conv(images, params["stem_conv"]["kernel"])
    x = x if full else relu(bn(x, params["stem_norm"]))
    blocks = (c.depth - 2) // (9 if c.block_kind == "bottleneck" else 6)
    for stage in (1, 2, 3):
        for j in range(1, blocks + 1):
            name = f"stage{stage}_block{j}"
            weight = (weights or {}).get(name, 1.0)
            mask = (masks or {}).get(name, 1.0 - c.shortcut_dropout)
            stride = 2 if stage > 1 and j == 1 else 1
            x = unit(x, params[name], c, stride, (stage, j) == (1, 1), name in cut, lambda r, w=weight: w * r, mask)
    if full:
        x = relu(bn(x, params["final_norm"]))
    elif c.activation_order == "relu_only_preactivation":
        x = relu(x)
    return x.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]
