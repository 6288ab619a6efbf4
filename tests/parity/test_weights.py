"""Files between PyTorch and this project: what PyTorch writes is read as PyTorch reads it, and the other way round.

The published file is not part of the project. Where RESNET_JAX_RESNET20 names it (resnet20-12fca82f.th, of
github.com/akamaster/pytorch_resnet_cifar10, pretrained_models) and RESNET_JAX_CIFAR10 a folder of CIFAR-10's images
(test/<class>/<image>), both nets predict the class of every test image.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from resnet_jax.data.listing import pictures
from resnet_jax.errors import UserError
from resnet_jax.weights import export, files, pickled
from resnet_jax.weights.classifier import Classifier
from resnet_jax.weights.formats.base import Unsaid
from tests.parity.conftest import Comparison
from tests.parity.published import CifarNet, ImageNetNet, shake

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def equal(ours: dict[str, np.ndarray], theirs: dict[str, torch.Tensor]) -> bool:
    """To the bit."""
    return list(ours) == list(theirs) and all(
        array.dtype == theirs[name].numpy().dtype and array.tobytes() == theirs[name].numpy().tobytes()
        for name, array in ours.items()
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("nested", [True, False], ids=["checkpoint", "state dict"])
def test_pytorch_s_own_files_are_read_to_the_bit(zipped: bool, nested: bool, tmp_path: Path) -> None:
    state = nn.DataParallel(shake(CifarNet(20))).state_dict()
    state["module.linear.weight"] = state["module.linear.weight"].t().contiguous().t()  # strided
    content = {"state_dict": state, "epoch": 3, "best": torch.tensor(0.5)} if nested else state
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    assert equal(pickled.read((tmp_path / "net.pt").read_bytes(), "net.pt"), state)


def test_a_whole_net_is_refused(tmp_path: Path) -> None:
    torch.save(CifarNet(8), tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"asks for tests\.parity\.published\.CifarNet"):
        files.load(tmp_path / "net.pt")


NETS = {
    "resnet20": lambda: CifarNet(20),
    "resnet56": lambda: CifarNet(56, classes=4),
    "resnet18": lambda: ImageNetNet(18, classes=7),
    "resnet50": lambda: ImageNetNet(50),
    "resnet50 of the paper": lambda: ImageNetNet(50, v1_5=False),
}


@pytest.mark.parametrize("name", NETS)
def test_logits_and_round_trip(name: str, comparison: Comparison, tmp_path: Path) -> None:
    """PyTorch -> file -> ours: the same logits; and back into a file that PyTorch loads strictly, to the bit."""
    net = shake(NETS[name]())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    weights = files.load(tmp_path / "net.pth", unsaid=Unsaid("1x1" if name.endswith("paper") else None))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    x = torch.from_numpy(((images / 255.0 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        theirs = net(x).numpy()
    # Rounding grows through up to 56 layers; any other reading of the names gives other logits altogether.
    comparison.check("logits", Classifier(weights).logits(images)[0], theirs, 1e-4)
    for ending in ("safetensors", "pth"):
        export.export(weights, tmp_path / f"back.{ending}")
    loaded = safetensors.torch.load_file(tmp_path / "back.safetensors")
    for state in (loaded, torch.load(tmp_path / "back.pth", weights_only=True)):
        plain = {key.removeprefix("module."): value for key, value in state.items()}
        assert equal(
            {key: value.numpy() for key, value in net.state_dict().items()}, {k: plain[k] for k in net.state_dict()}
        )
        net.load_state_dict(plain, strict=True)


def test_the_whole_of_resnet152_comes_back_to_the_bit(tmp_path: Path) -> None:
    state = shake(ImageNetNet(152)).state_dict()
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    files.save(files.load(tmp_path / "net.safetensors"), tmp_path / "net")
    naming, back, _ = export.state_dict(files.load(tmp_path / "net"))
    assert naming.name == "torchvision"
    assert sum(array.size for name, array in back.items() if name.endswith(("weight", "bias"))) == 60_192_808
    assert back.keys() == state.keys()
    assert equal({name: back[name] for name in state}, dict(state))


@pytest.fixture(scope="module")
def published() -> Path:
    """The file of akamaster's ResNet-20."""
    place = os.environ.get("RESNET_JAX_RESNET20", "")
    if not Path(place).is_file():
        pytest.skip("RESNET_JAX_RESNET20 does not name resnet20-12fca82f.th of akamaster/pytorch_resnet_cifar10")
    return Path(place)


def test_the_published_file_comes_back_to_the_bit(published: Path, tmp_path: Path) -> None:
    theirs = torch.load(published, map_location="cpu", weights_only=True)["state_dict"]
    files.save(files.load(published), tmp_path / "net")
    naming, state, _ = export.state_dict(files.load(tmp_path / "net"))
    assert naming.name == "akamaster"
    assert equal({name: state[name] for name in theirs}, theirs)
    assert state.keys() == theirs.keys()


def test_the_published_net_predicts_as_in_pytorch_image_by_image(published: Path, comparison: Comparison) -> None:
    folder = Path(os.environ.get("RESNET_JAX_CIFAR10", "")) / "test"
    if not folder.is_dir():
        pytest.skip("RESNET_JAX_CIFAR10 does not name a folder with CIFAR-10's images, test/<class>/<image>")
    state = torch.load(published, map_location="cpu", weights_only=True)["state_dict"]
    net = CifarNet(20).eval()
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()}, strict=True)
    paths = pictures([str(folder)])
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    assert images.shape == (10_000, 32, 32, 3)
    x = torch.from_numpy(((images / 255.0 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        theirs = torch.cat([net(part) for part in x.split(500)]).numpy()
    weights = files.load(published)
    classifier = Classifier(weights)
    ours = np.concatenate([classifier.logits(images[i : i + 500])[0] for i in range(0, len(images), 500)])
    comparison.check("logits", ours, theirs, 1e-4)
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    labels = np.array([weights.class_names.index(Path(path).parent.name) for path in paths])
    error = float((ours.argmax(1) != labels).mean())
    comparison.worst["error"] = error
    assert 0.17 < error < 0.19
    # As the commands see the same files.
    seen = list(classifier.predict(paths[:64]))
    assert [result.probabilities.argmax() for result in seen] == ours[:64].argmax(1).tolist()


def test_the_names_of_torchvision_itself() -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    for depth in (18, 34, 50, 101, 152):
        theirs = getattr(models, f"resnet{depth}")(weights=None).state_dict()
        assert {k: v.shape for k, v in ImageNetNet(depth).state_dict().items()} == {
            k: v.shape for k, v in theirs.items()
        }
