"""Data sets as TFDS prepares them, written without TensorFlow."""

import io
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image
from tensorflow_datasets.core import file_adapters

from resnet_jax.config import DataConfig
from resnet_jax.data import Dataset
from resnet_jax.data.sources import tfds
from resnet_jax.errors import UserError
from resnet_jax.text import Note

VERSION = "3.0.2"
Examples = Sequence[tuple[bytes, int]]
FeaturesOf = Mapping[str, Any]


def silent(text: str) -> None:
    pass


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """[H, W, C] or [H, W] as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1:] == (1,) else pixels).save(buffer, kind)
    return buffer.getvalue()


def labelled(shape: tuple[int | None, int | None, int] = (8, 8, 3), classes: int = 3) -> dict[str, Any]:
    kinds = tensorflow_datasets.features
    names = [f"class {i}" for i in range(classes)]
    return {"image": kinds.Image(shape=shape), "label": kinds.ClassLabel(names=names)}


def random_images(count: int, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def examples(images: np.ndarray, kind: str = "PNG") -> list[tuple[bytes, int]]:
    """Images with the labels 0, 1, 2, 0, 1, ..."""
    return [(encode(image, kind), i % 3) for i, image in enumerate(images)]


def write_tfrecord(path: Path, records: Sequence[bytes]) -> None:
    """https://www.tensorflow.org/tutorials/load_data/tfrecord: length, its checksum, data, its checksum."""
    path.write_bytes(b"".join(struct.pack("<Q", len(r)) + b"crc1" + r + b"crc2" for r in records))


def write_array_record(path: Path, records: Sequence[bytes]) -> None:
    file_adapters.ArrayRecordFileAdapter.write_examples(path, enumerate(records))


def write(
    data_dir: Path,
    splits: Mapping[str, Examples],
    *,
    name: str = "cifar10",
    version: str = VERSION,
    config: str = "",
    features: FeaturesOf | None = None,
    shards: int = 1,
    file_format: str = "array_record",
) -> Path:
    """A data set as TFDS's `download_and_prepare` leaves it; gives its directory."""
    directory = data_dir / name / config / version
    directory.mkdir(parents=True)
    feature_dict = tensorflow_datasets.features.FeaturesDict(features or labelled())
    feature_dict.save_config(directory)
    infos = []
    for split, content in splits.items():
        pieces = np.array_split(np.arange(len(content)), shards)
        infos.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
                "shardLengths": [str(len(piece)) for piece in pieces],
            }
        )
        for i, piece in enumerate(pieces):
            (image,) = feature_dict.keys() - {"label"}
            records = [
                feature_dict.serialize_example({image: content[j][0], "label": content[j][1]}) for j in piece.tolist()
            ]
            writer = write_tfrecord if file_format == "tfrecord" else write_array_record
            writer(directory / f"{name}-{split}.{file_format}-{i:05d}-of-{shards:05d}", records)
    info = {"name": name, "version": version, "fileFormat": file_format, "splits": infos}
    (directory / "dataset_info.json").write_text(json.dumps({**info, **({"configName": config} if config else {})}))
    return directory


def read(name: str = "cifar10", *, data_dir: Path | str | None, note: Note = silent) -> Dataset:
    path = None if data_dir is None else str(data_dir)
    return tfds.load(DataConfig(source="tfds", name=name, path=path), note)


def refused(data_dir: Path | str, sentence: str, name: str = "cifar10") -> None:
    with pytest.raises(UserError) as caught:
        read(name, data_dir=data_dir)
    message = str(caught.value)
    assert re.search(sentence, message), message
    assert "\n" not in message
