"""Nets from and to PyTorch's state dicts and this project's own form, a folder of model.safetensors and config.json.

    python -m experiments.convert resnet50.pth resnet50                       # a folder, for classify and fine-tuning
    python -m experiments.convert runs/digits-resnet/resnet-20-seed0 digits   # a finished run
    python -m experiments.convert resnet50 resnet50.safetensors               # a state dict, in PyTorch's names

FROM is a state dict in torchvision's names (resnet18 to resnet152) or akamaster/pytorch_resnet_cifar10's, in a file of
any ending; a folder written by this command; or the directory of a finished run. Nothing pickled is ever run. TO is a
folder, or a state dict: a file that ends in .safetensors, or, with PyTorch installed, in .pt, .pth or .th.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from experiments import cli
from resnet_jax.errors import UserError
from resnet_jax.record import RECORD_FILE, WEIGHTS

if TYPE_CHECKING:
    from resnet_jax.weights.arrays import Differences
    from resnet_jax.weights.bundle import Weights


@dataclass(frozen=True)
class Convert:
    """What is converted; the options say what a state dict does not."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FROM")]
    """A state dict, a folder of this project's own, or a finished run's directory."""
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TO")]
    """A folder, or a state dict by its ending."""
    class_names: Path | None = None
    """Text file with the name of a class a line, in order; None: ImageNet's or CIFAR-10's, where there are as many."""
    bottleneck_stride: Literal["1x1", "3x3"] | None = None
    """Of a state dict's bottlenecks: 3x3 is torchvision's ("v1.5"), 1x1 the paper's; None: 3x3."""
    resize: int | None = None
    """Pixels of a picture's shorter side; None: 256 for ImageNet's nets, 32 for CIFAR's."""
    crop: int | None = None
    """Pixels of the square in its middle; None: 224, or 32."""
    mean: tuple[float, ...] | None = None
    """Of each channel, with pixels from 0 to 1; None: ImageNet's."""
    std: tuple[float, ...] | None = None
    """Of each channel; None: ImageNet's."""


def main(argv: list[str] | None = None) -> int:
    """Parses, reads, writes, says what it was; returns the exit status."""
    chosen = tyro.cli(Convert, args=argv, prog="python -m experiments.convert", description=__doc__)
    if chosen.target.exists() and chosen.target.is_dir() and chosen.target.samefile(chosen.source):
        raise UserError(f"{chosen.target}: both FROM and TO; choose another place for TO.")
    names = read_names(chosen.class_names) if chosen.class_names else None
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.weights import files
    from resnet_jax.weights.arrays import Mismatch
    from resnet_jax.weights.bundle import describe

    try:
        weights = changed(read(chosen), chosen, names)
    except Mismatch as error:
        _show(error.differences)
        raise
    if chosen.target.suffix in (files.SAFETENSORS, *files.PICKLED):
        form = f"a state dict in {files.export(weights, chosen.target).name}'s names"
    else:
        files.save(weights, chosen.target)
        form = f"{files.MODEL_FILE} and {files.NET_FILE}"
    size = sum(array.size for array in weights.arrays.values() if array.ndim)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{chosen.source}: {describe(weights.model)}, {size:,} numbers")
    console.print(f"{chosen.target}: {form}")
    return cli.OK


def read(chosen: Convert) -> Weights:
    """The net to be converted; of a run without weights/, which needs its data at hand, from its last checkpoint."""
    from resnet_jax.weights import files

    if (chosen.source / RECORD_FILE).exists() and not (chosen.source / WEIGHTS).exists():
        from resnet_jax.training.restore import restore

        assembly, state = restore(chosen.source, print)
        return assembly.weights(state, chosen.source.name)
    return files.load(chosen.source, bottleneck_stride=chosen.bottleneck_stride)


def changed(weights: Weights, chosen: Convert, names: tuple[str, ...] | None) -> Weights:
    """The net with what the options say of it.

    Raises:
      UserError: it cannot be so.
    """
    from resnet_jax.weights.preprocessing import per_channel

    if names is not None:
        weights = dataclasses.replace(weights, class_names=names)
    if (chosen.resize, chosen.crop, chosen.mean, chosen.std) == (None,) * 4:
        return weights
    before = weights.preprocessing
    for name in ("resize", "crop"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            raise UserError(f"{name}: got {value}; legal: a whole number above 0.")
    crop = chosen.crop or (min(before.height, chosen.resize) if chosen.resize else before.height)
    resize = chosen.resize or max(crop, before.resize or 0)
    given = {}
    for name, value in (("mean", chosen.mean), ("std", chosen.std)):
        kept = getattr(before.normalization, name)
        if value is None and kept.shape[1:3] != (1, 1):
            raise UserError(
                f"{name}: none given; the net was trained with a mean image, so both are needed to change it."
            )
        if value is not None and len(value) != before.channels:
            raise UserError(f"{name}: got {len(value)} numbers; legal: {before.channels}, one for each channel.")
        given[name] = (
            tuple(kept.reshape(-1).tolist()) * (1 if kept.size > 1 else before.channels) if value is None else value
        )
    return dataclasses.replace(weights, preprocessing=per_channel(resize, crop, **given))


def read_names(file: Path) -> tuple[str, ...]:
    """Names of classes, one a line; empty lines at the end do not count.

    Raises:
      UserError: the file cannot be read as text.
    """
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").rstrip().splitlines())
    except UnicodeDecodeError:
        raise UserError(f"class-names: {file} is not text; legal: a text file with a name a line.") from None


def _show(differences: Differences) -> None:
    """All of them, one a line."""
    for kind, names in dataclasses.asdict(differences).items():
        for name in names:
            print(f"{kind}: {name}", file=sys.stderr)


if __name__ == "__main__":
    cli.run_main(main)
