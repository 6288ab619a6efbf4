"""Writes a data set of TensorFlow Datasets (TFDS) as array_record files.

The benchmark times the loading of these files.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets
from tensorflow_datasets.core import file_adapters

NAME, VERSION = "pictures", "1.0.0"
CLASSES = ["even", "odd"]
EXAMPLES_A_FILE = 1000  # about as many as a file of imagenet2012 has


def prepare(data_dir: Path, files: Sequence[str]) -> None:
    """Writes JPEG files, without decoding them, as a data set with two invented classes.

    Args:
      data_dir: folder of prepared data sets; this data set is called `NAME` there.
      files: the JPEG files. All are training images, and the first two are also test images.
    """
    directory = data_dir / NAME / VERSION
    directory.mkdir(parents=True)
    kinds = tensorflow_datasets.features
    image = kinds.Image(shape=(None, None, 3), encoding_format="jpeg")
    features = kinds.FeaturesDict({"image": image, "label": kinds.ClassLabel(names=CLASSES)})
    features.save_config(directory)
    splits = []
    for split, chosen in (("train", files), ("test", files[:2])):
        parts = [chosen[start : start + EXAMPLES_A_FILE] for start in range(0, len(chosen), EXAMPLES_A_FILE)]
        for number, part in enumerate(parts):
            examples = (
                (i, features.serialize_example({"image": Path(file).read_bytes(), "label": i % 2}))
                for i, file in enumerate(part)
            )
            file = directory / f"{NAME}-{split}.array_record-{number:05d}-of-{len(parts):05d}"
            file_adapters.ArrayRecordFileAdapter.write_examples(file, examples)
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        lengths = [str(len(part)) for part in parts]
        splits.append({"name": split, "filepathTemplate": template, "numBytes": "1", "shardLengths": lengths})
    info = {"name": NAME, "version": VERSION, "fileFormat": "array_record", "splits": splits}
    (directory / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
