"""Names and layouts between the two implementations, and what every comparison starts from.

A "flat" tree is a dictionary from a leaf's name in our trees, such as "stage2_block1/conv1/kernel", to a NumPy array;
parameters and batch statistics share one, as their leaves have different names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmark.peers.torch_resnet import TorchResNet
from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import build

Flat = dict[str, np.ndarray]

STATISTICS = {"mean": "running_mean", "var": "running_var"}
MODULES = {"norm": "bn", "shortcut_conv": "projection", "shortcut_norm": "projection_bn", "head": "fc"}
MODULES |= {"stem_norm": "stem_bn", "final_norm": "final_bn"}
MODULES |= {f"norm{i}": f"bn{i}" for i in (1, 2, 3)}
MODULES_BACK = {theirs: ours for ours, theirs in MODULES.items()}


def flatten(*trees: Any) -> Flat:
    """Trees of our arrays as one flat dictionary."""
    flat: Flat = {}
    for tree in trees:
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = "/".join(key.key for key in path)
            assert name not in flat, f"two leaves named {name}"
            flat[name] = np.asarray(leaf)
    return flat


def unflatten(flat: Flat) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trees of parameters and of batch statistics whose leaves `flat` has."""
    params: dict[str, Any] = {}
    batch_stats: dict[str, Any] = {}
    for name, value in flat.items():
        *modules, leaf = name.split("/")
        node = batch_stats if leaf in STATISTICS else params
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = jnp.asarray(value)
    return params, batch_stats


def to_torch(flat: Flat) -> dict[str, torch.Tensor]:
    """Our leaves under PyTorch's names and layouts, whole enough for `load_state_dict(strict=True)`."""
    state: dict[str, torch.Tensor] = {}
    for name, value in flat.items():
        *modules, leaf = name.split("/")
        prefix = ".".join(_their_module(module) for module in modules)
        if leaf == "kernel":
            # HWIO -> OIHW; [in, out] -> [out, in].
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.transpose()
        theirs = STATISTICS.get(leaf, "bias" if leaf == "bias" else "weight")
        state[f"{prefix}.{theirs}"] = torch.tensor(value)  # a copy: in-place updates must not reach our arrays
        if leaf == "var":
            state[f"{prefix}.num_batches_tracked"] = torch.tensor(0)
    return state


def to_flax(named: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> Flat:
    """A state dict, or gradients or momentum buffers under parameters' names, under our names and layouts."""
    back = {theirs: ours for ours, theirs in STATISTICS.items()}
    flat: Flat = {}
    for name, tensor in dict(named).items():
        *modules, theirs = name.split(".")
        if theirs == "num_batches_tracked":
            continue
        if modules[0] == "stages":
            i, j = int(modules[1]) + 1, int(modules[2]) + 1
            modules = [f"stage{i}_block{j}", *modules[3:]]
        value = tensor.detach().cpu().numpy().copy()
        leaf = back.get(theirs, "bias")
        if theirs == "weight":
            leaf = "scale" if value.ndim == 1 else "kernel"
            if leaf == "kernel":
                value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.transpose()
        flat["/".join([*(MODULES_BACK.get(m, m) for m in modules), leaf])] = value
    return flat


def _their_module(name: str) -> str:
    if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
        return f"stages.{int(block[1]) - 1}.{int(block[2]) - 1}"
    return MODULES.get(name, name)


def twin(config: ModelConfig, channels: int, flat: Flat) -> TorchResNet:
    """The PyTorch net of `config`, with the values of `flat`. That names and shapes agree is checked by loading."""
    assert config.num_classes is not None
    assert (config.norm.momentum, config.norm.epsilon) == (0.9, 1e-5), "torch_resnet has the papers' values alone"
    net = TorchResNet(
        imagenet=config.family == "imagenet",
        depth=config.depth,
        bottleneck=config.block == "bottleneck" or (config.family == "imagenet" and config.depth >= 50),
        shortcut=config.shortcut,
        classes=config.num_classes,
        channels=channels,
        padding=config.shortcut_padding,
        preactivation=config.activation_order == "full_preactivation",
        v1_5=config.bottleneck_stride == "3x3",
        width=config.width,
    )
    net.to(torch.float64 if config.dtype == "float64" else torch.float32)
    net.load_state_dict(to_torch(flat), strict=True)
    return net


def random_values(config: ModelConfig, image_shape: tuple[int, int, int], seed: int = 0) -> Flat:
    """Random parameters and statistics for every leaf of our net.

    A net's own initial values would hide errors: with BN scales of 1, biases of 0, running means of 0 and variances
    of 1, whatever confuses two of them, or forgets one, changes nothing.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.dtype(config.dtype))
    shapes = jax.eval_shape(lambda key, x: build(config).init(key, x, train=False), jax.random.key(0), images)
    rng = np.random.default_rng(seed)
    flat: Flat = {}
    for tree in (shapes["params"], shapes["batch_stats"]):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = "/".join(key.key for key in path)
            kind = path[-1].key
            if kind == "kernel":
                fan_in = int(np.prod(leaf.shape[:-1]))
                value = rng.normal(0.0, np.sqrt((2.0 if leaf.ndim == 4 else 1.0) / fan_in), leaf.shape)
            elif kind in ("scale", "var"):
                value = rng.uniform(0.5, 1.5, leaf.shape)
            else:
                value = rng.normal(0.0, 0.3, leaf.shape)
            flat[name] = value.astype(leaf.dtype)
    return flat
