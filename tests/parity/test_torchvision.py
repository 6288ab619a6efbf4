"""torchvision's own nets and its own preprocessing, from picture files to probabilities; skipped where it is missing.

`make parity` installs PyTorch alone. torchvision goes with one version of PyTorch, in an environment of its own:
pip install -e '.[test]' torch==2.14.1 torchvision==0.29.1, and then pytest tests/parity/test_torchvision.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import resnet_jax
from tests.parity.conftest import Comparison
from tests.parity.published import shake

models: Any = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

# Mode, width, height: narrow, wide, small, large, of odd sides, and every kind that the decoder takes.
PICTURES = [
    *(("RGB", w, h) for w, h in ((224, 224), (256, 256), (500, 375), (375, 500), (1023, 31), (31, 1023), (257, 255))),
    *(("RGB", w, h) for w, h in ((1, 1), (2, 3), (17, 19), (640, 427), (1201, 799), (225, 300))),
    *(("L", 301, 233), ("L", 64, 64), ("RGBA", 321, 241), ("P", 267, 400), ("1", 320, 240)),
    *(("CMYK", 333, 299), ("LA", 299, 333)),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty files: smooth colours with noise, so that wrong geometry and wrong rounding both show."""
    folder, rng, files = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for i, (mode, width, height) in enumerate(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height))
        noise = rng.integers(-20, 21, (height, width, 3))
        image = Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).convert(mode)
        files.append(folder / f"{i:02}{'.jpg' if mode == 'CMYK' or (mode == 'RGB' and i % 2) else '.png'}")
        image.save(files[-1])
    return files


@pytest.mark.parametrize("depth", [18, 50, 152])
def test_probabilities_of_picture_files(
    depth: int, pictures: list[Path], tmp_path: Path, comparison: Comparison
) -> None:
    torch.manual_seed(depth)
    net = shake(getattr(models, f"resnet{depth}")(weights=None), seed=depth)
    with torch.no_grad():  # else the logits of a net of 152 layers are so large that one class has it all
        net.fc.weight.mul_(3.0 / net(torch.rand(8, 3, 224, 224)).std())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    transform = getattr(models, f"ResNet{depth}_Weights").IMAGENET1K_V1.transforms()
    opened = []
    for file in pictures:
        with Image.open(file) as image:
            opened.append(transform(image.convert("RGB")))
    with torch.no_grad():
        theirs = torch.softmax(net(torch.stack(opened)).double(), 1).numpy()
    classifier = resnet_jax.Classifier(resnet_jax.load_weights(tmp_path / "net.pth"))
    ours = np.stack([result.probabilities for result in classifier.predict([str(file) for file in pictures])])
    assert ours.shape == (20, 1000)
    assert 0.002 < theirs.max(1).min() < theirs.max(1).max() < 0.9, (
        "no picture's class is a matter of chance, or certain"
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    comparison.worst["probabilities, absolute"] = float(np.abs(ours - theirs).max())
