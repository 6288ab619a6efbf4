"""Class probabilities of pictures by a test protocol of the papers: ten crops, or several scales."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_jax.config import DataConfig, ParallelConfig
from resnet_jax.data import cache, headers
from resnet_jax.data.crops import passes, too_long
from resnet_jax.data.records import FileRecords
from resnet_jax.data.stream import sources
from resnet_jax.data.walk import ImageFile
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.text import Note, plural
from resnet_jax.training.evaluate import Predictor, by_protocol
from resnet_jax.training.mesh import devices
from resnet_jax.weights.classifier import AT_ONCE, Prediction, Skipped, require_head

if TYPE_CHECKING:
    from resnet_jax.weights.bundle import Weights


def data_config(weights: Weights, folder: str, *, protocol: str, resize: int | None, **settings: Any) -> DataConfig:
    """Builds the data configuration with which a net is evaluated by a protocol.

    Args:
      weights: the net.
      folder: folder of the pictures.
      protocol: "ten_crop" or "multi_scale".
      resize: pixels of the shorter side before ten crops are taken; None: the value of the net's preprocessing.
      settings: `eval_scales` and `eval_multiple`, for "multi_scale".

    Raises:
      UserError: one of these problems:
        - the net has no classifier;
        - the net takes images that are not square;
        - the net takes images whose number of channels is neither 1 nor 3;
        - the protocol is "ten_crop", and `resize` is not larger than the crops.
    """
    require_head(weights)
    p, file = weights.preprocessing, weights.origin.file
    if p.height != p.width or p.channels not in (1, 3):
        channels = plural(p.channels, "channel")
        raise UserError(
            f"protocol: got {protocol!r}; legal: 'center', because {file} takes images of {p.width}x{p.height} pixels "
            f"and {channels}; other protocols need square images of 1 or 3 channels."
        )
    short = resize or p.resize or p.height
    if protocol == "ten_crop" and short <= p.height:
        raise UserError(
            f"resize: got {short}; legal: more than {p.height}, the size of the crops that {file} takes. If a "
            "square picture is resized to this size, all its crops are equal."
        )
    return DataConfig(
        source="folder",
        path=folder,
        stream=True,
        image_size=p.height,
        eval_resize=max(short, p.height),
        channels=p.channels,
        **{"protocol": protocol, **settings},
    )


def predict(
    weights: Weights, config: DataConfig, files: Sequence[ImageFile], note: Note, count: int
) -> Iterator[Prediction | Skipped]:
    """Yields the class probabilities of each picture, averaged over its crops or scales, in the order of `files`.

    For a picture whose header cannot be read, `Skipped` is yielded.

    Args:
      weights: the net; it is evaluated in float32.
      config: the result of `data_config`.
      files: the pictures, in folders under `config.path`.
      note: called with each remark, one line of text.
      count: number of devices that share the work.

    Raises:
      UserError: a picture with a readable header cannot be decoded, or there are fewer than `count` devices.
    """
    assert config.path is not None
    records = FileRecords(config.path, files)
    heads = headers.read(records.entry, len(files), name="pictures", key=cache.key(records.state), note=note)
    skipped = {**too_long(config, heads.sizes), **heads.unreadable}
    readable = np.setdiff1d(np.arange(len(files)), list(skipped))
    found: dict[int, Any] = {}
    if len(readable):
        labels, channels = np.zeros(len(files), np.int32), weights.preprocessing.channels
        (source,) = sources(records, [readable], labels, heads, config, channels)
        where = devices(ParallelConfig(devices=count))
        model = build(dataclasses.replace(weights.model, dtype="float32"))
        predictor = Predictor(where, model, weights.preprocessing.normalization, weights.model.precision)
        interpolation = weights.preprocessing.interpolation
        probabilities = by_protocol(
            functools.partial(predictor, where.replicate_state(weights.variables())),
            source,
            [dataclasses.replace(each, interpolation=interpolation) for each in passes(config)],
            devices=where,
            classes=len(weights.class_names),
            batch_size=AT_ONCE,
        )
        found = dict(zip(readable.tolist(), probabilities, strict=True))
    for i, file in enumerate(files):
        yield Prediction(file.path, found[i], None) if i in found else Skipped(file.path, skipped[i])
