"""Measures gradients before training: the gradient of the mean loss over a run's first batch, for each kernel.

Gradients are in float64, so that different machines give the same values to many digits. Only `measure` imports JAX.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.models import cost

# The measured nets, on scikit-learn's digits with the recipe of digits.py.
NETS = (
    {"model.shortcut": "none"},
    {"model.shortcut": "A"},
    {"model.shortcut": "A", "model.activation_order": "full_preactivation"},
)
DEPTHS, SEEDS = (8, 20, 56, 110), (0, 1, 2)


def measure() -> list[dict[str, Any]]:
    """Measures the gradients, and returns a row for each net, depth and seed."""
    rows = []
    for changes in NETS:
        for depth in DEPTHS:
            config = override(
                experiments()["digits-resnet"], {**changes, "model.depth": depth, "model.dtype": "float64"}
            )
            print(f"{config.model.net}-{depth}", file=sys.stderr)
            for seed, norms in zip(SEEDS, gradient_norms(config, SEEDS), strict=True):
                rows.append({"net": config.model.net, "depth": depth, "seed": seed, "norms": norms})
    return rows


def gradient_norms(config: ExperimentConfig, seeds: Sequence[int]) -> Iterator[list[float]]:
    """Yields, for each seed, the Euclidean norms of the gradients of all conv kernels, ordered from the input on.

    The loss is the mean over the run's first batch, in train mode, without augmentation. A float64 net needs x64 mode.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from resnet_jax.data.augment import normalize
    from resnet_jax.data.order import training_batches
    from resnet_jax.models.stacking import stack, unstack
    from resnet_jax.training.assemble import assemble
    from resnet_jax.training.losses import cross_entropy

    base = assemble(config)
    dataset, c, stats = base.dataset, base.config.model, base.normalization
    scanned = base.model.clone(scanned=True)

    @jax.jit
    def gradient(params: Any, batch_stats: Any, images: Any, labels: Any) -> Any:
        def loss(params: Any) -> Any:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, _ = scanned.apply(variables, images, train=True, mutable=["batch_stats"])
            return cross_entropy(logits, labels).mean()

        return jax.grad(loss)(params)

    for seed in seeds:
        state = assemble(override(config, {"seed": seed}), dataset=dataset).initial
        size = config.train.batch_size
        batch = next(training_batches(seed=seed, examples=len(dataset.train), batch_size=size, first_step=0))
        mean, std = (jnp.asarray(s, jnp.dtype(c.dtype)) for s in (stats.mean, stats.std))
        images = normalize(jnp.asarray(dataset.train.take(batch.index)), mean, std)
        labels = jnp.asarray(dataset.train.labels[batch.index])
        params, batch_stats = stack(state.params, c), stack(state.batch_stats, c)
        with jax.default_matmul_precision(c.precision):
            found = unstack(jax.device_get(gradient(params, batch_stats, images, labels)), c)
        names = [row.name.split("/") for row in cost.layers(c, dataset.image_shape) if "conv" in row.name]
        kernels = [found[module] if not inner else found[module][inner[0]] for module, *inner in names]
        yield [float(np.linalg.norm(kernel["kernel"])) for kernel in kernels]


def growth_per_layer(norms: Sequence[float]) -> float:
    """The factor by which the gradient's norm grows, on average, from one conv of stage 1 to the conv before it.

    Only the convs of stage 1 are used. They all have the same shape.

    Args:
      norms: norms of the gradients of all convs: first the stem's, then those of three equally long stages.
    """
    stage = norms[1 : 1 + (len(norms) - 1) // 3]
    return float((stage[0] / stage[-1]) ** (1 / (len(stage) - 1)))


def to_json(rows: list[dict[str, Any]]) -> str:
    """Returns the JSON text of the record, with one row per line."""
    rounded = ({**row, "norms": [float(f"{norm:.10g}") for norm in row["norms"]]} for row in rows)
    lines = ",\n".join(json.dumps(row) for row in rounded)
    return f'{{"command": "python -m experiments.derivation --measure", "rows": [\n{lines}\n]}}\n'
