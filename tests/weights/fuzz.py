"""Random damages of the files that hold nets: each is read as it was, or refused with a sentence.

python -m tests.weights.fuzz 2000
"""

import collections
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights import export, files
from resnet_jax.weights.formats import akamaster
from tests.weights.factory import random_weights
from tests.weights.torch_files import saved

TINY = ModelConfig(depth=8, width=2, shortcut="A", shortcut_padding="both", num_classes=3)
HUB = ModelConfig(family="imagenet", depth=18, block="basic", shortcut="B", width=2, num_classes=3)
CHECKED = ("zip.pth", "net/config.json", "net/model.safetensors", "timm/config.json")
CHECKED += ("huggingface/config.json", "huggingface/preprocessor_config.json")
"""Files whose damage leaves the arrays as they were, or is found by a checksum."""
# These have no checksum: damaged numbers are read as they are, names and shapes are those of the net.
UNCHECKED = ("stream.pth", "plain.safetensors")
KINDS = CHECKED + UNCHECKED
# Python's names of what a program does to start another, or to reach another machine.
STARTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.connect")
CONFIGS: dict[str, Any] = {
    "timm/config.json": {
        "architecture": "resnet18",
        "num_classes": 3,
        "label_names": ["cat", "dog", "frog"],
        "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.95, "mean": [0.5, 0.5, 0.5]},
    },
    "huggingface/config.json": {
        "model_type": "resnet",
        "depths": [2, 2, 2, 2],
        "layer_type": "basic",
        "hidden_sizes": [2, 4, 8, 16],
        "id2label": {"0": "cat", "1": "dog", "2": "frog"},
    },
    "huggingface/preprocessor_config.json": {"size": 224, "crop_pct": 0.875, "image_mean": [0.5, 0.5, 0.5]},
}


@contextlib.contextmanager
def nothing_run() -> Iterator[list[str]]:
    """Lists what the block starts, by `STARTS`, and has each refused.

    Python itself reports them, so that no other name of the same function escapes. The list is needed beside the
    exception: a reader may take that for damage of the file.
    """
    started: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in STARTS:
            started.append(f"{event} {arguments}")
            raise RuntimeError(f"started: {event}")

    sys.addaudithook(hook)  # there is no way to remove one
    try:
        yield started
    finally:
        watching = False


def originals(folder: Path) -> None:
    """A net in every form: a small one in files of its own, ResNet-18 in two hub folders."""
    net = random_weights(TINY)
    state = akamaster.FORMAT.to_pytorch(net.arrays)
    (folder / "zip.pth").write_bytes(saved(state, under="state_dict"))
    (folder / "stream.pth").write_bytes(saved(state, legacy=True))
    export.export(net, folder / "plain.safetensors")
    files.save(net, folder / "net")
    for name in ("timm", "huggingface"):
        export.export(random_weights(HUB), folder / name / "model.safetensors", name)
    for file, values in CONFIGS.items():
        (folder / file).write_text(json.dumps(values))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with one of: flipped bits, a piece cut out, doubled, or overwritten, or an end cut off."""
    data = bytearray(content)
    # Half of the damages hit the first 4 KiB: names, shapes and opcodes, and not only numbers.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 4096)
    at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
    match rng.integers(5):
        case 0:
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[at : at + length]
        case 3:
            data[at : at + length] = rng.bytes(length)
        case _:
            del data[at:]
    return bytes(data)


def run(count: int, seed: int = 0) -> collections.Counter[str]:
    """Damages files `count` times; returns how often each was refused, and read.

    Raises:
      AssertionError: what was read is not finite, has other names or shapes than the net, or, for files of `CHECKED`,
        other numbers; or something was started.
      Exception: any but UserError, which is the defect that is looked for.
    """
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        originals(folder)
        nets = {form: random_weights(HUB).arrays for form in ("timm", "huggingface")}
        tiny = random_weights(TINY).arrays
        for i in range(count):
            kind = KINDS[i % len(KINDS)]
            file = folder / kind
            content = file.read_bytes()
            file.write_bytes(damaged(content, rng))
            try:
                with nothing_run() as started:
                    net = files.load(file if file.parent == folder else file.parent)
            except UserError as error:
                outcomes[f"{kind}: refused"] += 1
                if "\n" in str(error):
                    raise AssertionError(f"more than a sentence: {error}") from error
            else:
                there = nets.get(file.parent.name, tiny)
                assert all(np.isfinite(array).all() for array in net.arrays.values())
                assert {n: a.shape for n, a in net.arrays.items()} == {n: a.shape for n, a in there.items()}, kind
                if kind in CHECKED:
                    assert all(np.array_equal(net.arrays[name], array) for name, array in there.items()), kind
                outcomes[f"{kind}: read"] += 1
            assert not started, f"{kind}: {started}"
            file.write_bytes(content)
    return outcomes


if __name__ == "__main__":
    for outcome, times in sorted(run(int(sys.argv[1])).items()):
        print(f"{outcome} {times}")
