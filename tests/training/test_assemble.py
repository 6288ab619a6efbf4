"""The parts of a run, before anything is compiled."""

from pathlib import Path

import jax
import numpy as np
import pytest

from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.training.assemble import assemble
from tests.training.test_loop import SMALL


def test_a_blank_state_has_the_form_of_the_first_one() -> None:
    assembly = assemble(SMALL)
    forms = [jax.tree.map(lambda x: (np.shape(x), x.dtype), state) for state in (assembly.blank, assembly.initial)]
    assert forms[0] == forms[1]
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(assembly.blank))


def test_a_finished_run_needs_the_file_that_it_started_from_only_for_its_normalisation(tmp_path: Path) -> None:
    gone = override(
        SMALL, {"finetune.weights": str(tmp_path / "gone"), "finetune.frozen_stages": 1, "data.normalize": "pixel_mean"}
    )
    assembly = assemble(gone, starting=False)
    assert assembly.model.frozen_stages == 1
    with pytest.raises(AssertionError):
        _ = assembly.initial  # random values would pass for the file's
    for changes, starting in (({}, True), ({"data.normalize": "weights"}, False)):
        with pytest.raises(UserError, match=r"finetune\.weights: .*gone"):
            assemble(override(gone, changes), starting=starting)
