"""Shortcuts by their definitions."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.models.shortcuts import join, projects, strided_identity

X = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)


@pytest.mark.parametrize(("padding", "before"), [("end", 0), ("both", 1)])
def test_option_a_is_a_strided_identity_with_zero_channels(padding: Any, before: int) -> None:
    out = np.asarray(strided_identity(jnp.asarray(X), stride=2, features=6, padding=padding))
    assert out.shape == (2, 2, 3, 6)
    np.testing.assert_array_equal(out[..., before : before + 3], X[:, [0, 2]][:, :, [0, 2, 4]])
    rest = [c for c in range(6) if not before <= c < before + 3]
    np.testing.assert_array_equal(out[..., rest], 0.0)


def test_option_a_is_the_identity_where_the_shape_is_kept() -> None:
    np.testing.assert_array_equal(strided_identity(jnp.asarray(X), stride=1, features=3, padding="end"), X)


def test_plain_is_the_residual_branch_alone() -> None:
    residual = jnp.ones((2, 4, 6, 3))
    assert join("none", jnp.asarray(X), residual, stride=1, padding="end", project=None) is residual


def test_projection_replaces_the_identity() -> None:
    residual = jnp.ones((2, 2, 3, 6))
    out = join("B", jnp.asarray(X), residual, stride=2, padding="end", project=lambda x: jnp.full((2, 2, 3, 6), 5.0))
    np.testing.assert_array_equal(out, 6.0)


@pytest.mark.parametrize(
    ("shortcut", "kept", "changed"),
    [("none", False, False), ("A", False, False), ("B", False, True), ("C", True, True)],
)
def test_who_projects(shortcut: str, kept: bool, changed: bool) -> None:
    # He et al. 2015, Sec. 4.1: B where dimensions increase, C everywhere.
    assert projects(shortcut, shape_changes=False) is kept
    assert projects(shortcut, shape_changes=True) is changed
