"""Converts tfrecord files of TensorFlow Datasets (TFDS) to array_record files, without TensorFlow."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_jax.errors import UserError
from resnet_jax.files import replacing, write_atomically

if TYPE_CHECKING:
    from resnet_jax.data.tfds_files import Name


def convert(prepared: Any, name: Name, data_dir: str | None) -> None:
    """Writes an array_record file beside each tfrecord file of a data set. The tfrecord files are not changed.

    dataset_info.json, which makes TFDS use the new files, is changed last. After an interruption, the data set is still
    a tfrecord data set, and the conversion can be repeated.

    Args:
      prepared: TFDS's builder of the data set.
      name, data_dir: the options of the command, for messages.

    Raises:
      UserError: a tfrecord file is missing or truncated; the message names it.
    """
    from tensorflow_datasets.core import file_adapters

    from resnet_jax.data import tfds_files

    directory = Path(prepared.data_dir)
    for shard in [Path(file) for split in prepared.info.splits.values() for file in split.filepaths]:
        new = shard.with_name(shard.name.replace(".tfrecord-", ".array_record-"))
        print(f"converting {shard.name}", flush=True)
        try:
            with replacing(new, new.with_name(f"incomplete.{new.name}")) as part:
                file_adapters.ArrayRecordFileAdapter.write_examples(part, enumerate(tfrecords(shard)))
        except (FileNotFoundError, EOFError) as error:
            state = "truncated" if isinstance(error, EOFError) else "missing"
            raise UserError(f"{shard}: {state}; {tfds_files.again(name, data_dir, directory)}.") from error
    file = directory / tfds_files.INFO
    info = json.loads(file.read_text(encoding="utf-8"))
    info["alternativeFileFormats"] = [*info.get("alternativeFileFormats", ()), "array_record"]
    write_atomically(file, json.dumps(info, indent=2))


def tfrecords(file: Path) -> Iterator[bytes]:
    """Yields the data of each record of a TFRecord file.

    A record is the length of the data (8 bytes), a checksum (4 bytes), the data, and another checksum (4 bytes). The
    checksums are not verified.

    Raises:
      EOFError: the file ends within a record.
    """
    with file.open("rb") as stream:
        while head := stream.read(12):
            (length,) = struct.unpack("<Q", head[:8]) if len(head) == 12 else (None,)
            record = stream.read(length + 4) if length is not None else b""
            if length is None or len(record) < length + 4:
                raise EOFError(file)
            yield record[:length]
