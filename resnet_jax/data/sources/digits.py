"""The default data set: 1,797 handwritten digits of 8x8 pixels in ten classes, which are part of scikit-learn.

They are the test set of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998).
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from resnet_jax.config import DataConfig
from resnet_jax.data.dataset import ArraySource, Dataset
from resnet_jax.text import Note

# The split belongs to the data set, and is no setting: a fifth of the images of each class is for testing.
TEST_EXAMPLES = 360
SPLIT_SEED = 0
MAX_PIXEL = 16


def load(config: DataConfig, note: Note) -> Dataset:
    """Loads 1,437 training and 360 test images [N, 8, 8, 1] uint8. Pixels are scaled from 0..16 to 0..255."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / MAX_PIXEL)).astype(np.uint8).reshape(-1, 8, 8, 1)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int32), test_size=TEST_EXAMPLES, random_state=SPLIT_SEED, stratify=labels
    )
    return Dataset(
        name="digits",
        train=ArraySource(train_images, train_labels),
        test=ArraySource(test_images, test_labels),
        class_names=tuple(map(str, range(10))),
    )
