"""Convert nets between PyTorch state dicts and this project's format: a folder with model.safetensors and config.json.

    python -m experiments.convert resnet50.pth resnet50                       # a folder, for classify and fine-tuning
    python -m experiments.convert runs/digits-resnet/resnet-20-seed0 digits   # a finished run
    python -m experiments.convert resnet50 resnet50.safetensors               # a state dict, in PyTorch's names

FROM is one of these:

- a state dict with the names of torchvision, timm, transformers (ResNet-18 to 152) or akamaster's
  pytorch_resnet_cifar10;
- a folder with a net of timm or transformers, from the client of the Hugging Face hub;
- a folder written by this command;
- the directory of a finished run.

PyTorch's files .pt, .pth and .th are pickles, which may contain code. This command never executes such code.

TO is a folder, or a state dict: a file that ends in .safetensors or, with PyTorch installed, in .pt, .pth or .th.
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
from resnet_jax.text import plural

if TYPE_CHECKING:
    from resnet_jax.weights.bundle import Weights


@dataclass(frozen=True)
class Convert:
    """Convert a net. The options give facts that a state dict does not contain."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FROM")]
    """A state dict, a folder written by this command, or the directory of a finished run."""
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TO")]
    """A folder, or a state dict: a file that ends in .safetensors, .pt, .pth or .th."""
    class_names: Path | None = None
    """Text file with the class names, one on each line; None: ImageNet's for 1000 classes, CIFAR-10's for 10."""
    bottleneck_stride: Literal["1x1", "3x3"] | None = None
    """The convolution of a bottleneck that has the stride: 3x3 as in torchvision ("v1.5"), or 1x1 as in the paper.
    None: 3x3."""
    epsilon: float | None = None
    """Epsilon of the batch norms, added to the variance; None: PyTorch's 1e-5."""
    from_key: str | None = None
    """For a checkpoint with several nets: the key of the net, such as model_ema, or the prefix of its names. None: the
    usual key, which the command prints."""
    ignore_extra: bool = False
    """Ignore arrays that do not belong to the net, such as counts of operations, and list them."""
    format: str | None = None
    """Naming scheme of the state dict TO: torchvision, timm, huggingface or akamaster. None: torchvision for ImageNet
    nets, akamaster for CIFAR nets."""
    resize: int | None = None
    """Pixels to which the shorter side of a picture is resized; None: 256 for ImageNet nets, 32 for CIFAR nets."""
    crop: int | None = None
    """Pixels of the centre crop; None: 224 for ImageNet nets, 32 for CIFAR nets."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, for pixels from 0 to 1; None: ImageNet's."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, for pixels from 0 to 1; None: ImageNet's."""


def main(argv: list[str] | None = None) -> int:
    """Converts a net, prints its name and size; returns the exit status."""
    chosen = parse(Convert, argv, program="python -m experiments.convert", description=__doc__)
    if chosen.target.exists() and chosen.target.is_dir() and chosen.target.samefile(chosen.source):
        raise UserError(f"{chosen.target}: FROM and TO are the same folder; choose another TO.")
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
    """Reads the net.

    If the net is a run that has no folder weights/, its last checkpoint is read. This needs the data of the run.
    """
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
    """Applies the options for class names and preprocessing to a net; returns the changed net.

    Args:
      weights: the net.
      chosen: the options of the command.
      names: the new class names; None: the class names do not change.

    Raises:
      UserError: the value of an option is illegal.
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
            raise UserError(f"{name}: none given; only --mean and --std together replace the mean image of this net.")
        if value is not None and len(value) != before.channels:
            got = plural(len(value), "number")
            raise UserError(f"{name}: got {got}; legal: {before.channels}, a number for each channel.")
        given[name] = (
            tuple(kept.reshape(-1).tolist()) * (1 if kept.size > 1 else before.channels) if value is None else value
        )
    preprocessing = per_channel(resize, crop, interpolation=before.interpolation, **given)
    return dataclasses.replace(weights, preprocessing=preprocessing)


def read_names(file: Path) -> tuple[str, ...]:
    """Reads class names, one on each line; empty lines at the end are ignored.

    Raises:
      UserError: the file cannot be read as text.
    """
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines())
    except UnicodeDecodeError:
        raise UserError(f"class-names: {file} is not text; legal: a text file with one name on each line.") from None


if __name__ == "__main__":
    cli.run_main(main)
