"""Layouts of kernels."""

import numpy as np

from resnet_jax.weights.formats.base import layout, layout_back


def test_kernels_are_laid_out_as_pytorch_has_them() -> None:
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # HWIO
    theirs = layout(kernel)
    assert theirs.shape == (5, 4, 2, 3)
    assert theirs[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    np.testing.assert_array_equal(layout_back(theirs), kernel)
    matrix = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(layout(matrix), matrix.T)
