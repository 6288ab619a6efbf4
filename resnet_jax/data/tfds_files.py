"""Finds the files of a data set that TensorFlow Datasets (TFDS) has prepared, and checks that they are complete.

This module does not use the network. It checks the directory before it calls TFDS. Otherwise, if the data set is
missing, TFDS would spend minutes on attempts to download it.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets
from tensorflow_datasets.core import constants, file_adapters, naming

from resnet_jax.data.dataset import require_names
from resnet_jax.data.decode import MODES
from resnet_jax.errors import UserError
from resnet_jax.text import reason

INSTALL = "pip install -e '.[prepare]'"
INFO, FEATURES, NAMES = "dataset_info.json", "features.json", "label.labels.txt"
SUPPORTED = "supported: uint8 images of one size under 'image' and a class under 'label'"
VERSION = re.compile(r"\d+\.\d+\.\d+")
LEGAL = re.compile(r"[\w./:*=,-]+")  # checked here, because TFDS ignores the rest of a name such as "cifar 10"


@dataclass(frozen=True)
class Name:
    """The name of a TFDS data set: "name", "name/config", "name:1.0.0" or "name/config:1.*.*"."""

    dataset: str
    config: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Name:
        """Parses a name with an optional configuration and version; raises UserError for other texts."""
        form = "legal: name, name/config, name:1.0.0 or name/config:1.0.0"
        if not LEGAL.fullmatch(text):
            raise UserError(f"data.name: got {text!r}; {form}.")
        try:
            dataset, parts = naming.parse_builder_name_kwargs(text)
            version = parts.pop("version", None)
            if version is not None:
                tensorflow_datasets.core.Version("0.0.0").match(version)
        except Exception as error:  # TFDS raises many kinds of errors here, such as AttributeError
            raise UserError(f"data.name: got {text!r}; {form}.") from error
        config = parts.pop("config", None)
        if parts or dataset.namespace or not isinstance(config, str | None):
            raise UserError(f"data.name: got {text!r}; namespaces and builder arguments are not supported, {form}.")
        return cls(dataset.name, config, version)

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"{self.dataset}{config}" + (f":{self.version}" if self.version else "")


def root(data_dir: str | None) -> Path:
    """The folder of all prepared data sets: `data_dir`, or TFDS's default ($TFDS_DATA_DIR or ~/tensorflow_datasets)."""
    # Not pathlib's expanduser, which raises if there is no home folder. Absolute, so that TFDS does not expand "~".
    return Path(os.path.expanduser(data_dir or constants.DATA_DIR)).absolute()


def find(name: Name, data_dir: str | None) -> Path | None:
    """Finds the directory of the highest prepared version that `name` allows; None if no version is prepared.

    Files in this directory may be missing or damaged; see `open_prepared`.
    """
    folder = root(data_dir) / name.dataset
    config = name.config or _default_config(name)
    if config:
        folder /= config
    # This leaves out directories that TFDS is still writing: they are called incomplete.XXXXXX_<version>.
    found = [path.name for path in folder.glob("*") if VERSION.fullmatch(path.name) and path.is_dir()]
    versions = [tensorflow_datasets.core.Version(version) for version in found]
    legal = [version for version in versions if name.version is None or version.match(name.version)]
    return folder / str(max(legal)) if legal else None


def prepare_command(name: Name, data_dir: str | None) -> str:
    """The command that prepares the data set `name`."""
    place = f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""
    return f"python -m experiments.prepare {shlex.quote(str(name))}{place}"


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it is not imported."""
    return importlib.util.find_spec("tensorflow") is not None


def require_known(name: Name) -> None:
    """Checks that the installed version of TFDS has the data set `name` and its configuration.

    Raises:
      UserError: there is no such data set or configuration; the message gives similar names.
    """
    known = tensorflow_datasets.list_builders(with_community_datasets=False)  # the community's list is on a server
    if name.dataset not in known:
        plain = {word.replace("_", ""): word for word in known}  # so that fashionmnist is similar to fashion_mnist
        near = [plain[word] for word in difflib.get_close_matches(name.dataset.replace("_", ""), plain, n=3)]
        hint = f"the nearest names are {', '.join(near)}" if near else "it has no similar name, see its catalogue"
        raise UserError(f"data.name: TFDS {tensorflow_datasets.__version__} has no {name.dataset!r}; {hint}.")
    configs = list(tensorflow_datasets.builder_cls(name.dataset).builder_configs)
    if name.config and name.config not in configs:
        legal = ", ".join(configs[:20]) + (f" and {len(configs) - 20} more" if len(configs) > 20 else "")
        raise UserError(f"data.name: {name.dataset} has no configuration {name.config!r}; legal: {legal or 'none'}.")


def not_prepared(name: Name, data_dir: str | None) -> str:
    """The message for a data set that is not prepared, with the commands that prepare it.

    Raises:
      UserError: TFDS has no data set of that name.
    """
    require_known(name)
    install = "" if has_tensorflow() else f"{INSTALL} (preparing needs TensorFlow, reading does not) and "
    command = prepare_command(name, data_dir)
    return f"{name}: not prepared in {root(data_dir)}; run {install}{command}"


def open_prepared(directory: Path, name: Name, data_dir: str | None) -> Any:
    """Returns TFDS's builder for the data in `directory`, after a check that metadata and files are complete.

    Raises:
      UserError: the format of the data is not array_record.
      UserError: a file is missing or damaged.
    """
    remedy = again(name, data_dir, directory)
    builder = open_metadata(directory, name, data_dir)
    if not has_array_record(builder):
        command = prepare_command(name, data_dir)
        mend = f"{command} converts it to array_record." if is_tfrecord(builder) else f"{remedy}."
        kind = builder.info.file_format.value
        raise UserError(f"{directory}: prepared as {kind}, which cannot be read without TensorFlow; {mend}")
    builder.info.set_file_format("array_record", override=True, override_if_initialized=True)
    for split in builder.info.splits.values():
        for file, count in zip(map(Path, split.filepaths), split.shard_lengths, strict=True):
            if not file.is_file():
                raise UserError(f"{file}: missing; {remedy}.")
            try:
                # The index of a file is at its end, so a truncated file is detected here.
                there = file_adapters.ArrayRecordFileAdapter.num_examples(file)
            except Exception as error:  # array_record raises RuntimeError, ValueError and more
                raise UserError(f"{file}: truncated or damaged; {remedy}.") from error
            if there != count:
                raise UserError(f"{file}: has {there:,} examples, but {INFO} says {count:,}; {remedy}.")
    return builder


def open_metadata(directory: Path, name: Name, data_dir: str | None) -> Any:
    """Returns TFDS's builder for the data in `directory`, after a check of its metadata but not of its data files.

    Raises:
      UserError: a file of the metadata is missing or damaged; the message has its path.
    """
    remedy = again(name, data_dir, directory)
    for file in (directory / INFO, directory / FEATURES):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"{file}: missing; {remedy}.") from error
        except ValueError as error:  # not JSON, or not even text
            raise UserError(f"{file}: not valid JSON ({reason(error)}); {remedy}.") from error
    _check_names(directory / NAMES, remedy)
    try:
        # Not tfds.builder(name), which would use the version and the features of the installed code.
        builder = tensorflow_datasets.builder_from_directory(directory)
        if not builder.info.splits or builder.info.file_format is None:
            raise ValueError("it has no splits, or no file format")
        for split in builder.info.splits.values():
            _ = split.filepaths  # made by a template that is in the file
    except Exception as error:  # TFDS raises many kinds of errors if the content of the files is wrong
        raise UserError(
            f"{directory}: TFDS cannot read its {INFO} and {FEATURES} ({reason(error)}); {remedy}."
        ) from error
    return builder


def _check_names(file: Path, remedy: str) -> None:
    """Checks the file with the names of the classes, if there is one, because TFDS's errors do not name the file."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return
    except ValueError as error:
        raise UserError(f"{file}: not a text file in UTF-8 ({reason(error)}); {remedy}.") from error
    names = [line.strip() for line in lines if line.strip()]  # as TFDS reads them
    if not names:
        raise UserError(f"{file}: empty; {remedy}.")
    require_names(names, str(file))


def has_array_record(builder: Any) -> bool:
    """Whether a prepared data set can be read without TensorFlow."""
    return tensorflow_datasets.core.FileFormat.ARRAY_RECORD in builder.info.available_file_formats()


def is_tfrecord(builder: Any) -> bool:
    """Whether a prepared data set is in TFDS's usual format, tfrecord, which can be converted to array_record."""
    return bool(builder.info.file_format is tensorflow_datasets.core.FileFormat.TFRECORD)


def again(name: Name, data_dir: str | None, directory: Path) -> str:
    """Advice about a damaged directory, for the end of a message."""
    return f"delete {directory} and run {prepare_command(name, data_dir)}"


def _default_config(name: Name) -> str | None:
    if name.dataset not in tensorflow_datasets.list_builders(with_community_datasets=False):
        return None
    default = tensorflow_datasets.builder_cls(name.dataset).default_builder_config
    return None if default is None else str(default.name)


def features(name: Name, info: Any) -> tuple[int, tuple[str, ...]]:
    """The number of channels of the images, and the names of the classes.

    Args:
      name: name of the data set, for messages.
      info: TFDS's DatasetInfo; the data set need not be prepared.

    Raises:
      UserError: an example is not an image with a class label, or the images do not have 8 bits per channel.
    """
    found = dict(info.features.items())
    image, label = found.get("image"), found.get("label")
    kinds = tensorflow_datasets.features
    if not isinstance(image, kinds.Image) or not isinstance(label, kinds.ClassLabel):
        raise UserError(f"{name}: its features are {', '.join(sorted(found))}; {SUPPORTED}.")
    channels = image.shape[-1]
    if image.np_dtype != np.uint8 or channels not in MODES:
        raise UserError(f"{name}: its images are {np.dtype(image.np_dtype)} with {channels} channels; {SUPPORTED}.")
    return channels, tuple(map(str, label.names))
