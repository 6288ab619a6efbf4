"""Option A by its definition, and which blocks have a projection."""

import typing
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models.layers import strided_identity
from resnet_jax.models.orders import ORDERS
from resnet_jax.models.shortcuts import SHORTCUTS, projects
from tests.models import reference, test_variants

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


@pytest.mark.parametrize(
    ("shortcut", "kept", "changed_basic", "changed_bottleneck"),
    [
        # He et al. 2015, Sec. 4.1: B where dimensions increase, C everywhere.
        ("none", False, False, False),
        ("A", False, False, False),
        ("B", False, True, True),
        ("C", True, True, True),
        # 2016: option A in the basic nets, projections where bottleneck nets increase dimensions (Appendix).
        ("identity", False, False, True),
        ("exclusive_gate", False, False, True),
    ],
)
def test_who_projects(shortcut: str, kept: bool, changed_basic: bool, changed_bottleneck: bool) -> None:
    for kind, changed in (("basic", changed_basic), ("bottleneck", changed_bottleneck)):
        assert projects(shortcut, kind, shape_changes=False) is kept
        assert projects(shortcut, kind, shape_changes=True) is changed


def test_what_can_be_configured_is_there_and_tested() -> None:
    """A shortcut or an order without its code, or without a row among the formulas, fails here."""
    hints = typing.get_type_hints(ModelConfig)
    assert set(typing.get_args(hints["shortcut"])) == set(SHORTCUTS) == set(reference.SHORTCUTS)
    assert set(typing.get_args(hints["activation_order"])) == set(ORDERS) == set(test_variants.ORDERS)
