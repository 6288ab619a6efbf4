"""On the device, evaluation counts each example once, and its errors are those that NumPy counts in the logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import override
from resnet_jax.data.augment import normalize
from resnet_jax.training.program import prepare
from tests.gpu import reference

pytestmark = pytest.mark.gpu

# Logits of an untrained net lie close together, and other batches may be computed by other algorithms.
TIES = 3


def test_each_example_counts_once() -> None:
    # 360 test images in batches of 100: the last is padded.
    program = prepare(override(reference.config("float32"), {"train.eval_batch_size": 100}))
    assembly = program.assembly
    found = program.evaluate(program.put(assembly.initial), "test")
    test, stats = assembly.dataset.test, assembly.normalization
    mean, std = jnp.asarray(stats.mean, jnp.float32), jnp.asarray(stats.std, jnp.float32)
    images = normalize(jnp.asarray(test.images), mean, std)
    variables = {"params": assembly.initial.params, "batch_stats": assembly.initial.batch_stats}
    logits = np.asarray(jax.jit(lambda v, x: assembly.model.apply(v, x, train=False))(variables, images))
    assert found.examples == len(test) == 360
    assert abs(found.errors - np.sum(logits.argmax(axis=1) != test.labels)) <= TIES
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(test)), test.labels]
    assert found.mean_loss == pytest.approx(losses.mean(), rel=1e-3)
