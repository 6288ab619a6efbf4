"""The classes of ImageNet's validation images, which their archive has without class folders.

| file                                         | a line                       |
|----------------------------------------------|------------------------------|
| ILSVRC2012_validation_ground_truth.txt       | a number, see below          |
| imagenet_2012_validation_synset_labels.txt   | a class folder's name        |
| LOC_val_solution.csv                         | an image's name, then a class folder's name and boxes |

In the first two files, the lines are in the order of the images' names. The numbers in the first are those of the
development kit's meta.mat, which must be in the same folder. They are not in the order of the class names.
"""

from __future__ import annotations

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
    """The file with the classes of the validation images, in `root` or where the archives put it, or None."""
    places = (os.path.join(root, folder, name) for folder in FOLDERS for name in FILES)
    return next((place for place in places if os.path.isfile(place)), None)


def classes_of(file: str, images: Sequence[str]) -> list[str]:
    """The name of the class folder of each image.

    Args:
      file: the result of `find`.
      images: the names of the image files, in order.

    Raises:
      UserError: the file cannot be read, does not fit the images, or needs a meta.mat that is missing.
    """
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read ({error}); get it again.") from None
    if os.path.basename(file) == TABLE:
        return _by_name(file, rows, images)
    if len(rows) != len(images):
        raise UserError(f"{file} has {len(rows):,} lines and there are {len(images):,} images; each needs one line.")
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


def _synsets(file: str) -> dict[str, str]:
    """The class folder's name by number, from the development kit's meta.mat."""
    if not os.path.isfile(file):
        raise UserError(
            f"{file} is missing, which says what the numbers in {OFFICIAL} mean; the development kit has both files."
        )
    from scipy.io import loadmat  # installed with scikit-learn

    try:
        synsets = loadmat(file, squeeze_me=True, struct_as_record=True)["synsets"]
        return {str(int(s["ILSVRC2012_ID"])): str(s["WNID"]) for s in synsets.ravel()[:LEAVES]}
    except Exception as error:  # for damaged files, scipy and NumPy raise many kinds of errors
        raise UserError(f"{file} cannot be read ({error}); take it from the development kit again.") from None
