"""Finds the classes of ImageNet's validation images, because the archive of these images has no class folders.

One of these files is needed:

| file                                       | content of a line                                         |
|--------------------------------------------|-----------------------------------------------------------|
| ILSVRC2012_validation_ground_truth.txt     | the number of a class                                     |
| imagenet_2012_validation_synset_labels.txt | the name of a class folder                                |
| LOC_val_solution.csv                       | the name of an image, then the name of its class folder   |

The lines of the first two files are in the order of the images' names. The first file needs another file in the same
folder: meta.mat of ImageNet's development kit, which gives the class folder for each number.
"""

import csv
import os
from collections.abc import Sequence

from resnet_jax.errors import UserError

OFFICIAL, NAMES, TABLE = (
    "ILSVRC2012_validation_ground_truth.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "LOC_val_solution.csv",
)
FILES = (OFFICIAL, NAMES, TABLE)
META = "meta.mat"
FOLDERS = ("", "val", "data", os.path.join("ILSVRC2012_devkit_t12", "data"))
LEAVES = 1000  # the first synsets in meta.mat have no children; these are the classes


def find(root: str) -> str | None:
    """Finds a file with the classes of the validation images, in `root` or in FOLDERS below it; None if none exists."""
    paths = (os.path.join(root, folder, name) for folder in FOLDERS for name in FILES)
    return next((path for path in paths if os.path.isfile(path)), None)


def classes_of(file: str, images: Sequence[str]) -> list[str]:
    """Reads the name of the class folder of each image.

    Args:
      file: path of a file that `find` has found.
      images: names of the image files, in alphabetical order.

    Raises:
      UserError: the file cannot be read, or does not fit the images.
      UserError: meta.mat is needed, but it is missing or cannot be read.
    """
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read ({error}); download it again.") from None
    if os.path.basename(file) == TABLE:
        return _by_name(file, rows, images)
    if len(rows) != len(images):
        raise UserError(f"{file} has {len(rows):,} lines for {len(images):,} images; legal: one line for each image.")
    labels = [row[0].strip() for row in rows]
    if os.path.basename(file) == NAMES:
        return labels
    synsets = _synsets(os.path.join(os.path.dirname(file), META))
    unknown = next((label for label in labels if label not in synsets), None)
    if unknown is not None:
        raise UserError(f"{file} has {unknown!r}; legal: the numbers of the classes in {META}.")
    return [synsets[label] for label in labels]


def _by_name(file: str, rows: Sequence[Sequence[str]], images: Sequence[str]) -> list[str]:
    found = {row[0]: row[1].split()[0] for row in rows if len(row) > 1 and row[1].strip()}
    stems = [os.path.splitext(image)[0] for image in images]
    missing = next((image for image, stem in zip(images, stems, strict=True) if stem not in found), None)
    if missing is not None:
        raise UserError(f"{file} has no line for the image {missing}; each image needs one.")
    return [found[stem] for stem in stems]


def _synsets(file: str) -> dict[str, str]:  # {number of a class: name of its folder}
    if not os.path.isfile(file):
        raise UserError(
            f"{file} is missing; it gives the class for each number in {OFFICIAL}; take both files from ImageNet's "
            "development kit."
        )
    from scipy.io import loadmat  # installed with scikit-learn

    try:
        synsets = loadmat(file, squeeze_me=True, struct_as_record=True)["synsets"]
        return {str(int(s["ILSVRC2012_ID"])): str(s["WNID"]) for s in synsets.ravel()[:LEAVES]}
    except Exception as error:  # for damaged files, scipy and NumPy raise many kinds of errors
        raise UserError(f"{file} cannot be read ({error}); take it from the development kit again.") from None
