"""Reads and changes values inside a net with Flax's interceptors (`nn.intercept_methods`).

Flax passes every call of a module through the interceptor, also while JAX traces the net. So these functions work under
jit, grad, jvp and vmap.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
from jax import Array

from resnet_jax.errors import UserError
from resnet_jax.models.blocks import Block
from resnet_jax.models.resnet import ResNet, build

Call = Callable[..., Any]
Handle = Callable[[nn.Module, str, Array, Callable[[Array], Any]], Any]


@contextmanager
def intercepted(handle: Handle) -> Iterator[None]:
    """Context manager that replaces every call of a module inside a net by `handle(module, name, x, call)`.

    Args:
      handle: function whose result becomes the output of the module. `name` is the path of the module, such as
        "stage1_block1/conv1". `x` is the module's input, and `call(x)` computes the module's original output.
    """

    def intercept(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path:
            return call(*args, **kwargs)
        return handle(module, "/".join(module.path), args[0], lambda x: call(x, *args[1:], **kwargs))

    with nn.intercept_methods(intercept):
        yield


def preserved_blocks(model: ResNet, variables: Any, images: Any) -> list[str]:
    """The names of the blocks whose output has the same shape as their input, in the order of computation.

    Args:
      model: net with `stages="unrolled"`.
      variables: variables of the model.
      images: [N, H, W, C], or their shape and dtype.

    Raises:
      UserError: the net has no such block. An example is a bottleneck net with one block in each stage.
    """
    names: list[str] = []

    def note(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
        y = call(x)
        if isinstance(module, Block) and y.shape == x.shape:
            names.append(name)
        return y

    with intercepted(note):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, images)
    if not names:
        net = f"{model.config.net}-{model.config.depth}"
        raise UserError(
            f"nets: got {net}, in which every {model.config.block_kind} block changes the shape of its input; "
            "legal here: deeper nets, with blocks that keep the shape."
        )
    return names


def eval_mode(model: ResNet, variables: Any, images: Array) -> Array:
    """Computes logits in eval mode: images [N, H, W, C] -> [N, classes]."""
    logits: Any = model.apply(variables, images, train=False)
    found: Array = logits
    return found


def train_mode(model: ResNet, variables: Any, images: Array) -> tuple[Array, Any]:
    """Computes logits in train mode, [N, classes], and the updated running statistics."""
    logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
    return logits, updated["batch_stats"]


def block_outputs(model: ResNet, variables: Any, images: Array, *, train: bool) -> dict[str, Array]:
    """The outputs of all blocks by name, in order, [N, H', W', C'] each. The first, "stem", is the input of block 1."""
    outputs: dict[str, Array] = {}

    def keep(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
        if not isinstance(module, Block):
            return call(x)
        outputs.setdefault("stem", x)
        outputs[name] = call(x)
        return outputs[name]

    with intercepted(keep):
        train_mode(model, variables, images) if train else model.apply(variables, images, train=False)
    return outputs


def with_statistics_of(model: ResNet, variables: Any, images: Array) -> Any:
    """Returns `variables` with the batch statistics of some images, [N, H, W, C], as the running statistics.

    With the new variables, eval mode gives the same logits for this batch as train mode. Each image is then computed
    independently of the others. Untrained nets need this, because their running statistics are meaningless.
    """
    # With momentum 0 the new running statistics are the batch's.
    norm = dataclasses.replace(model.config.norm, momentum=0.0)
    forgetful = build(dataclasses.replace(model.config, norm=norm))
    return {**variables, "batch_stats": train_mode(forgetful, variables, images)[1]}
