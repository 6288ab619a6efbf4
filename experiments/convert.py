"""Nets from and to PyTorch's state dicts and this project's own form, a folder of model.safetensors and config.json.

    python -m experiments.convert resnet50.pth resnet50                       # a folder, for classify and fine-tuning
    python -m experiments.convert runs/digits-resnet/resnet-20-seed0 digits   # a finished run
    python -m experiments.convert resnet50 resnet50.safetensors               # a state dict, in PyTorch's names

FROM is a state dict in the names of torchvision, timm, transformers (ResNet-18 to 152) or akamaster's
pytorch_resnet_cifar10, in a file of any ending; a folder of timm's or transformers' nets as the Hugging Face hub's
client downloads it; a folder written by this command; or the directory of a finished run. Nothing pickled is ever run.
TO is a folder, or a state dict: a file that ends in .safetensors, or, with PyTorch installed, in .pt, .pth or .th.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console

from experiments import cli
from experiments.options import parse
from resnet_jax.errors import UserError
from resnet_jax.record import RECORD_FILE, WEIGHTS

if TYPE_CHECKING:
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
    """Where a state dict's bottlenecks have their stride: 3x3 is torchvision's ("v1.5"), 1x1 the paper's; None: 3x3."""
    epsilon: float | None = None
    """Epsilon of a state dict's batch norms, added to the variance; None: PyTorch's 1e-5."""
    from_key: str | None = None
    """In a checkpoint with several nets: the key of the wanted one, such as model_ema, or the prefix of its
    names; None: the usual one, and a remark says which."""
    ignore_extra: bool = False
    """Leave out arrays of a state dict that its net does not have, such as counts of operations, and list them."""
    format: str | None = None
    """Names of the state dict TO: torchvision, timm, huggingface, akamaster; None: torchvision's or akamaster's."""
    resize: int | None = None
    """Pixels of a picture's shorter side; None: 256 for ImageNet's nets, 32 for CIFAR's."""
    crop: int | None = None
    """Pixels of the square in its middle; None: 224, or 32."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, with pixels from 0 to 1; None: ImageNet's."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel; None: ImageNet's."""


def main(argv: list[str] | None = None) -> int:
    """Parses, reads, writes, says what it was; returns the exit status."""
    chosen = parse(Convert, argv, program="python -m experiments.convert", description=__doc__)
    if chosen.target.exists() and chosen.target.is_dir() and chosen.target.samefile(chosen.source):
        raise UserError(f"{chosen.target}: both FROM and TO; choose another place for TO.")
    names = read_names(chosen.class_names) if chosen.class_names else None
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.weights import export, files
    from resnet_jax.weights.arrays import Mismatch
    from resnet_jax.weights.bundle import describe

    try:
        weights = changed(read(chosen), chosen, names)
    except Mismatch as error:
        for kind, kept in dataclasses.asdict(error.differences).items():
            for name in kept:
                cli.warn(f"{kind}: {name}")
        raise
    if chosen.target.suffix in (export.SAFETENSORS, *export.PICKLED):
        form, notes = export.export(weights, chosen.target, chosen.format)
        for note in notes:
            cli.warn(f"{chosen.target}: {note}.")
        said = f"a state dict in {form.name}'s names"
    else:
        files.save(weights, chosen.target)
        said = f"{files.MODEL_FILE} and {files.NET_FILE}"
    size = sum(array.size for array in weights.arrays.values() if array.ndim)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{chosen.source}: {describe(weights.model)}, {size:,} numbers")
    console.print(f"{chosen.target}: {said}")
    return cli.OK


def read(chosen: Convert) -> Weights:
    """The net to be converted; of a run without weights/, which needs its data at hand, from its last checkpoint."""
    from resnet_jax.weights import files
    from resnet_jax.weights.formats.base import Unsaid

    if (chosen.source / RECORD_FILE).exists() and not (chosen.source / WEIGHTS).exists():
        from resnet_jax.training.restore import restore

        assembly, state = restore(chosen.source, print)
        return assembly.weights(state, chosen.source.name)
    return files.load(
        chosen.source,
        unsaid=Unsaid(chosen.bottleneck_stride, chosen.epsilon),
        from_key=chosen.from_key,
        ignore_extra=chosen.ignore_extra,
        note=cli.warn,
    )


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
    given: dict[str, Any] = {}
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
    preprocessing = per_channel(resize, crop, interpolation=before.interpolation, **given)
    return dataclasses.replace(weights, preprocessing=preprocessing)


def read_names(file: Path) -> tuple[str, ...]:
    """Names of classes, one a line; empty lines at the end do not count.

    Raises:
      UserError: the file cannot be read as text.
    """
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines())
    except UnicodeDecodeError:
        raise UserError(f"class-names: {file} is not text; legal: a text file with a name a line.") from None


if __name__ == "__main__":
    cli.run_main(main)
