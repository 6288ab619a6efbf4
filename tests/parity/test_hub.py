"""Nets of transformers and timm themselves, where they are installed: logits, names and round trips.

They are no part of `make parity`'s environment: pip install --no-deps transformers, or timm, with what they import.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from resnet_jax.models.resnet import build
from resnet_jax.weights import export, files
from tests.parity.conftest import Comparison
from tests.parity.published import shake

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def compare(net: Any, folder: Path, form: str, comparison: Comparison) -> None:
    """Logits in both precisions, and the file's arrays back to the bit."""
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    weights = files.load(folder)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3))
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-10)):
        with torch.no_grad():
            theirs = net.to(getattr(torch, dtype))(
                torch.tensor(images.transpose(0, 3, 1, 2), dtype=getattr(torch, dtype))
            )
        with jax.enable_x64(True):
            variables = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), weights.variables())
            model = build(dataclasses.replace(weights.model, dtype=dtype))  # type: ignore[arg-type]
            ours = model.apply(variables, jnp.asarray(images, dtype), train=False)
        comparison.check(dtype, ours, getattr(theirs, "logits", theirs).numpy(), tolerance)
    state = export.state_dict(weights, form)[1]
    back = torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert state.keys() == back.keys()
    assert all(state[name].tobytes() == tensor.numpy().tobytes() for name, tensor in back.items())


@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("depths", [(2, 2, 2, 2), (3, 4, 6, 3), (3, 8, 36, 3)])
def test_transformers(depths: tuple[int, ...], downsample: bool, comparison: Comparison, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    basic = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]} if depths == (2, 2, 2, 2) else {}
    config = transformers.ResNetConfig(
        depths=list(depths), downsample_in_bottleneck=downsample and not basic, num_labels=11, **basic
    )
    config.save_pretrained(tmp_path)
    net = shake(transformers.ResNetForImageClassification(config))
    compare(net, tmp_path, "huggingface", comparison)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_timm(depth: int, comparison: Comparison, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    net = shake(timm.create_model(f"resnet{depth}", num_classes=11))
    config = {"architecture": f"resnet{depth}", "pretrained_cfg": {"mean": list(MEAN), "std": list(STD)}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    compare(net, tmp_path, "timm", comparison)
