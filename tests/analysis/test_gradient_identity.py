"""He et al. 2016, Eq. 5, in float64: where it holds, where it does not, and its limit without residual functions."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from resnet_jax.analysis.gradient_identity import identity_terms
from resnet_jax.analysis.instruments.gradient_identity import GradientIdentity, measure
from resnet_jax.analysis.net import Examples
from resnet_jax.analysis.options import Workspace
from resnet_jax.errors import UserError
from tests.analysis.reference import examples, small

# The first unit's shortcut starts after its activation (2016, Appendix): there the identity is none of x.
FIRST = "stage1_block1"


def left(terms: dict[str, object]) -> dict[str, float]:
    """What the two terms leave of each block's gradient, relative to it."""
    return {
        name: float(np.linalg.norm(t.gradient - t.carried - t.residual) / np.linalg.norm(t.gradient))  # type: ignore[attr-defined]
        for name, t in terms.items()
    }


@pytest.mark.usefixtures("x64")
def test_it_holds_for_full_preactivation_with_identity_shortcuts() -> None:
    # What a variant multiplies residuals by is a part of F.
    model, variables = small(20, activation_order="full_preactivation", residual_scale=0.7, survival=0.5, skip_init=0.9)
    images, labels = examples(8)
    terms = identity_terms(model, variables, images, labels)
    assert list(terms) == [FIRST, *(f"stage{i}_block{j}" for i in (1, 2, 3) for j in (2, 3))]
    by_block = left(terms)
    assert by_block.pop(FIRST) > 1e-3
    assert max(by_block.values()) < 1e-10
    for t in terms.values():
        assert np.linalg.norm(t.residual) > 1e-3 * np.linalg.norm(t.carried)
    # One gradient arrives at the end of a stage, and the blocks of the stage share it.
    assert np.array_equal(terms["stage2_block2"].carried, terms["stage2_block3"].carried)

    silent = copy.deepcopy(variables)
    for name in terms:
        silent["params"][name]["conv2"]["kernel"][:] = 0.0
    quiet = identity_terms(model, silent, images, labels)
    for name in by_block:
        assert not np.asarray(quiet[name].residual).any()
        np.testing.assert_allclose(quiet[name].gradient, quiet[name].carried, rtol=1e-12, atol=0)

    net = SimpleNamespace(model=model, variables=silent, name="net", examples=lambda *_: Examples(images, labels))
    found = measure(net, GradientIdentity(), Workspace())  # type: ignore[arg-type]
    assert np.isnan(found["cosine"]).all()  # no angle with nothing


@pytest.mark.usefixtures("x64")
def test_a_net_without_blocks_that_keep_their_shape_gets_a_sentence() -> None:
    model, variables = small(11, block="bottleneck")
    with pytest.raises(UserError, match="resnet-11, in which every bottleneck block changes the shape"):
        identity_terms(model, variables, *examples(2))


@pytest.mark.parametrize("shortcut", ["A", "none"])
@pytest.mark.usefixtures("x64")
def test_a_relu_after_the_addition_or_no_shortcut_breaks_it(shortcut: str) -> None:
    model, variables = small(14, shortcut=shortcut)
    by_block = left(identity_terms(model, variables, *examples(8)))
    assert min(by_block.values()) > 1e-3
