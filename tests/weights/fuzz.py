"""Random damages of the files that hold nets: each is read as it was, or refused with a sentence.

python -m tests.weights.fuzz 2000
"""

from __future__ import annotations

import collections
import sys
import tempfile
from pathlib import Path

import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights import export, files
from resnet_jax.weights.formats import akamaster
from tests.weights.factory import random_weights
from tests.weights.torch_files import saved

TINY = ModelConfig(depth=8, width=2, shortcut="A", shortcut_padding="both", num_classes=3)
KINDS = ("zip.pth", "stream.pth", "plain.safetensors", "net/config.json", "net/model.safetensors")


def originals(folder: Path) -> None:
    """One net in every form."""
    net = random_weights(TINY)
    state = akamaster.FORMAT.to_pytorch(net.arrays)
    (folder / "zip.pth").write_bytes(saved(state, under="state_dict"))
    (folder / "stream.pth").write_bytes(saved(state, legacy=True))
    export.export(net, folder / "plain.safetensors")
    files.save(net, folder / "net")


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
      AssertionError: what was read is not finite, or has other names or shapes than the net.
      Exception: any but UserError, which is the defect that is looked for.
    """
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        originals(folder)
        shapes = {name: array.shape for name, array in random_weights(TINY).arrays.items()}
        for i in range(count):
            kind = KINDS[i % len(KINDS)]
            file = folder / kind
            content = file.read_bytes()
            file.write_bytes(damaged(content, rng))
            try:
                net = files.load(file.parent if file.parent.name == "net" else file)
            except UserError as error:
                outcomes[f"{kind}: refused"] += 1
                if "\n" in str(error):
                    raise AssertionError(f"more than a sentence: {error}") from error
            else:
                assert all(np.isfinite(array).all() for array in net.arrays.values())
                assert {name: array.shape for name, array in net.arrays.items()} == shapes or kind != "net/config.json"
                outcomes[f"{kind}: read"] += 1
            file.write_bytes(content)
    return outcomes


if __name__ == "__main__":
    for outcome, times in sorted(run(int(sys.argv[1])).items()):
        print(f"{outcome} {times}")
