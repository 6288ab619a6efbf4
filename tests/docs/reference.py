"""The formulas of docs/derivation.md in NumPy, by their definitions: nothing here is fast, and nothing is JAX's.

Every function takes complex numbers too and is analytic in them, so that a derivative needs no formula of its own: it
is Im f(x + ihv) / h, to rounding for h = 1e-30, since nothing is subtracted (Squire and Trapp 1998, the complex step).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Any]

EPSILON = 1e-5
STEP = 1e-30


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Formula (1), padded by (K - 1) / 2: x [N, H, W, C], kernel [K, K, C, F], tap by tap."""
    k = kernel.shape[0]
    pad = (k - 1) // 2
    height, width = ((side + 2 * pad - k) // stride + 1 for side in x.shape[1:3])
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y = np.zeros((len(x), height, width, kernel.shape[3]), np.result_type(x, kernel))
    for i in range(k):
        for j in range(k):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            y += padded[:, rows, columns] @ kernel[i, j]
    return y


def relu(x: Array) -> Array:
    """max(x, 0), and its derivative with it: by the real part."""
    return np.where(x.real > 0, x, 0)


def batch_norm(x: Array, scale: Any = 1.0, bias: Any = 0.0, epsilon: float = EPSILON) -> Array:
    """Formulas (11) and (12): x [..., C], statistics of each channel over all else."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    variance = ((x - mean) ** 2).mean(axis=axes)
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias


def _norm(x: Array, p: Mapping[str, Array]) -> Array:
    return batch_norm(x, p["scale"], p["bias"])


def basic(x: Array, p: Mapping[str, Any], stride: int = 1) -> Array:
    """Formula (25)."""
    y = relu(_norm(conv(x, p["conv1"]["kernel"], stride), p["norm1"]))
    return _norm(conv(y, p["conv2"]["kernel"]), p["norm2"])


def bottleneck(x: Array, p: Mapping[str, Any], stride: int = 1) -> Array:
    """Formula (26), with the stride on the first conv."""
    y = relu(_norm(conv(x, p["conv1"]["kernel"], stride), p["norm1"]))
    y = relu(_norm(conv(y, p["conv2"]["kernel"]), p["norm2"]))
    return _norm(conv(y, p["conv3"]["kernel"]), p["norm3"])


def preactivation(x: Array, p: Mapping[str, Any]) -> Array:
    """Formula (30)."""
    y = conv(relu(_norm(x, p["norm1"])), p["conv1"]["kernel"])
    return conv(relu(_norm(y, p["norm2"])), p["conv2"]["kernel"])


def projection(x: Array, p: Mapping[str, Any], stride: int) -> Array:
    """The shortcut of formula (27)."""
    return _norm(conv(x, p["shortcut_conv"]["kernel"], stride), p["shortcut_norm"])


def jacobian(f: Function, x: Array) -> Array:
    """[f(x).size, x.size], a column for each element of x."""
    columns = []
    for k in range(x.size):
        direction = np.zeros(x.size)
        direction[k] = STEP
        columns.append(np.ravel(f(x + 1j * direction.reshape(x.shape)).imag) / STEP)
    return np.stack(columns, axis=1)


def gradient(f: Function, x: Array) -> Array:
    """The gradient of a number f(x), in the shape of x."""
    return jacobian(lambda x: np.asarray(f(x)), x).reshape(x.shape)
