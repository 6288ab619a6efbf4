"""SGD with momentum and decay of all parameters, as in the papers. The learning rates are in schedules.py.

    g <- g + weight_decay * w;   v <- momentum * v + g;   w <- w - rate * v

With Nesterov's momentum the third formula is w <- w - rate * (g + momentum * v). The configuration can restrict the
decay to kernels, and can clip the gradient g before the decay is added.

The rate multiplies the velocity, as in PyTorch and optax. In Caffe it is part of the velocity, which makes a difference
only in the iterations after a change of the rate. In fine-tuning, a factor can multiply the rate of a stage, and the
parameters of frozen stages do not change.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from resnet_jax.config import FinetuneConfig, OptimConfig
from resnet_jax.models.stacking import stage_of
from resnet_jax.training.schedules import scheduled_rate

FROM_SCRATCH = FinetuneConfig()


def sgd(
    config: OptimConfig, finetune: FinetuneConfig = FROM_SCRATCH, stages: int = 0, *, iterations: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """Makes the optimizer of `config`. Its `update` needs `error`, the training error of the step's batch, 0 to 1.

    Args:
      config: settings with milestones and warm-up in iterations.
      finetune: the frozen stages, and the factor of the rate of each stage.
      stages: number of stages of the net; needed only if `finetune` has frozen stages or factors.
      iterations: number of steps of the run; needed only for the schedule "cosine".
    """
    frozen, rates = finetune.frozen_stages, (*finetune.stage_rates, 1.0)

    def is_frozen(tree: Any) -> Any:
        return _by_stage(lambda stage, _: stage <= frozen, tree, stages)

    def scale(updates: Any, params: Any) -> Any:
        del params
        return _by_stage(lambda stage, update: rates[stage - 1] * update, updates, stages)

    return optax.chain(
        *([optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm is not None else []),
        optax.add_decayed_weights(config.weight_decay, mask=_is_kernel if config.decayed == "kernels" else None),
        # After the decay: a frozen parameter has neither gradient nor decay, so its velocity stays 0.
        *([optax.masked(optax.set_to_zero(), is_frozen)] if frozen else []),
        optax.trace(decay=config.momentum, nesterov=config.nesterov),
        *([optax.stateless(scale)] if finetune.stage_rates else []),
        scheduled_rate(config, iterations),
    )


def _is_kernel(params: Any) -> Any:
    """A tree of booleans: whether each leaf is the kernel of a convolution or of the last layer."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _by_stage(function: Callable[[int, Any], Any], tree: Any, stages: int) -> Any:
    """Replaces each leaf of a tree of parameters by function(stage, leaf)."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(stage_of(path[0].key, stages), leaf), tree)
