"""Reads and changes values inside a net with Flax's interceptors, through which every call of a module passes.

Interceptors run where the net is traced, so they work under jit, grad, jvp and vmap alike.
"""

from __future__ import annotations

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
    """A context in which `handle(module, name, x, call)` replaces the call of every module inside a net.

    x is the module's input, `call(x)` is the module's own output, and `name` is the name of its parameters, such as
    "stage1_block1/conv1". The returned value becomes the module's output.
    """

    def intercept(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path:
            return call(*args, **kwargs)
        return handle(module, "/".join(module.path), args[0], lambda x: call(x, *args[1:], **kwargs))

    with nn.intercept_methods(intercept):
        yield


def preserved_blocks(model: ResNet, variables: Any, images: Any) -> list[str]:
    """The names of the blocks whose output has the shape of their input, in the order of computation.

    Args:
      model: net that is not scanned.
      variables: variables of the model.
      images: [N, H, W, C], or their shape and dtype.

    Raises:
      UserError: there is no such block, as in a bottleneck net with one block in each stage.
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
            f"nets: got {net} with {model.config.block_kind} blocks, each of which changes the shape of its "
            "input; legal here: nets with blocks that keep it, so deeper ones."
        )
    return names


def eval_mode(model: ResNet, variables: Any, images: Array) -> Array:
    """Logits in eval mode, [N, classes]."""
    logits: Any = model.apply(variables, images, train=False)
    found: Array = logits
    return found


def train_mode(model: ResNet, variables: Any, images: Array) -> tuple[Array, Any]:
    """Logits in train mode, [N, classes], and the updated running statistics."""
    logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
    return logits, updated["batch_stats"]


def block_outputs(model: ResNet, variables: Any, images: Array, *, train: bool) -> dict[str, Array]:
    """The output of every block, by name and in order, [N, H', W', C']; the first entry, "stem", is block 1's input."""
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
    """`variables` with the batch statistics of these images instead of the running statistics.

    With them, eval mode gives the same logits for this batch as train mode. But the statistics are fixed, so each image
    is independent of the others. The running statistics of an untrained net are meaningless.
    """
    # With momentum 0 the new running statistics are the batch's.
    norm = dataclasses.replace(model.config.norm, momentum=0.0)
    forgetful = build(dataclasses.replace(model.config, norm=norm))
    return {**variables, "batch_stats": train_mode(forgetful, variables, images)[1]}
