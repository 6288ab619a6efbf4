"""A whole train step on the device, in every mode and dtype, against the same step in float64 on the CPU."""

from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.training.assemble import assemble
from resnet_jax.training.program import prepare
from tests.gpu import reference

pytestmark = pytest.mark.gpu

# Of the worst leaf: the norm of the difference over that of the change. Seen on a CPU: 5e-5 in float32, most of it the
# rounding of a parameter near 1 that changes by 1e-3, and 0.11 in bfloat16, whose mantissa has 7 bits. TF32 has 10, so
# an eighth of bfloat16's error is expected of float32 on a GPU. Each is given a factor of 2 to 10. A gradient that is
# wrong (a sum for a mean, statistics of half the batch) is off by its own size.
CPU_FLOAT32, GPU_FLOAT32, BFLOAT16 = 5e-4, 5e-2, 0.25
# Of the loss, relative: bfloat16 rounds logits to 0.4 %.
LOSS = {"float32": 1e-3, "bfloat16": 1e-2}


def tolerance(dtype: str) -> float:
    if dtype == "bfloat16":
        return BFLOAT16
    return CPU_FLOAT32 if jax.default_backend() == "cpu" else GPU_FLOAT32


@pytest.fixture(scope="module")
def float64(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], float]:
    """The state before the step, the leaves after it, and the loss."""
    start = assemble(reference.config("float32")).initial
    return start, *reference.in_float64(start, tmp_path_factory.mktemp("float64"))


@pytest.mark.parametrize("mode", ["jit", "shard_map", "pmap"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_train_step_is_that_of_float64_on_the_cpu(
    float64: tuple[Any, dict[str, Any], float], dtype: str, mode: str
) -> None:
    start, expected, expected_loss = float64
    state, loss = reference.step(prepare(reference.config(dtype, mode)), start)
    assert loss == pytest.approx(expected_loss, rel=LOSS[dtype])
    before, after = reference.leaves(start), reference.leaves(state)
    assert set(after) == set(expected)
    changed = [name for name in expected if not np.array_equal(expected[name], before[name])]
    assert len(changed) > 0.9 * len(expected)  # nothing is compared that stands still
    errors = {
        name: np.linalg.norm(after[name] - expected[name]) / np.linalg.norm(expected[name] - before[name])
        for name in changed
    }
    wrong = {name: error for name, error in errors.items() if not error < tolerance(dtype)}
    assert not wrong, f"{len(wrong)} of {len(errors)} leaves differ by more than {tolerance(dtype)}: {wrong}"
