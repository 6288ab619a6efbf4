"""What JAX makes of the convolutions: derivatives, loops, vmap, several devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_jax.models.conv import conv2d, cpu
from tests.models.conv.reference import Array, Conv, close, draw, function, lax_conv


@pytest.fixture(autouse=True)
def always_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shapes here are small and take the matrix products all the same."""
    monkeypatch.setattr(cpu, "loop_pays", lambda *_: True)


WAYS = [(8, 8, 8, 4, 5, 3, 2), (4, 4, 8, 4, 5, 3, 1), (8, 2, 2, 4, 5, 3, 1), (8, 4, 4, 4, 5, 3, 2)]

TRANSFORMED = {
    "jvp": lambda f: lambda x, k: jax.jvp(f, (x, k), (x + 1, k - 1)),
    "jvp of grad": lambda f: lambda x, k: jax.jvp(jax.grad(f, (0, 1)), (x, k), (x + 1, k - 1)),
    "grad of grad": lambda f: jax.grad(lambda x, k: sum((g**2).sum() for g in jax.grad(f, (0, 1))(x, k)), (0, 1)),
    "hessian": lambda f: lambda x, k: jax.hessian(f, 1)(x[:2], k[..., :2]),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f), (0, 1)),
}


@pytest.mark.parametrize("shape", WAYS, ids=str)
@pytest.mark.parametrize("name", TRANSFORMED)
@pytest.mark.usefixtures("x64")
def test_derivatives_of_both_modes_and_orders(name: str, shape: tuple[int, ...]) -> None:
    x, kernel = draw(shape, jnp.float64)
    ours, theirs = (jax.jit(TRANSFORMED[name](function(conv, shape[-1], 1)))(x, kernel) for conv in (conv2d, lax_conv))
    close(ours, theirs)


@pytest.mark.parametrize("shape", [WAYS[1], WAYS[2]], ids=str)
@pytest.mark.usefixtures("x64")
def test_in_a_loop(shape: tuple[int, ...]) -> None:
    """A scan over kernels, whose backward pass is a loop too."""
    n, height, width, c, _, size, _ = shape
    x, kernels = draw((n, height, width, c, c, size, 1), jnp.float64)
    kernels = jnp.stack([kernels, 0.5 * kernels, -kernels])

    def loss_of(conv: Conv) -> Callable[[Array, Array], Array]:
        def one(x: Array, kernel: Array) -> tuple[Array, None]:
            return conv(x, kernel, stride=1, pad=1), None

        return lambda x, kernels: jnp.sin(jax.lax.scan(one, x, kernels)[0]).sum()

    ours, theirs = (jax.jit(jax.value_and_grad(loss_of(conv), (0, 1)))(x, kernels) for conv in (conv2d, lax_conv))
    close(ours, theirs)


@pytest.mark.parametrize("shape", WAYS, ids=str)
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)], ids=str)
@pytest.mark.usefixtures("x64")
def test_vmap(axes: tuple[int | None, int | None], shape: tuple[int, ...]) -> None:
    x, kernel = draw(shape, jnp.float64)
    x, kernel = (jnp.stack([a, a * 2, a + 1]) if axis == 0 else a for a, axis in zip((x, kernel), axes, strict=True))

    def results(conv: Conv) -> Any:
        f = function(conv, shape[-1], 1)
        of_each = jax.vmap(jax.value_and_grad(f, (0, 1)), axes)(x, kernel)
        of_sum = jax.grad(lambda x, kernel: jax.vmap(f, axes)(x, kernel).sum(), (0, 1))(x, kernel)
        twice = jax.vmap(jax.vmap(jax.grad(f, 1), axes), (None, 0))(x, jnp.stack([kernel, kernel - 1]))
        return of_each, of_sum, twice

    close(results(conv2d), results(lax_conv))


def on_devices(count: int, side: int = 8) -> tuple[Mesh, Array, Array]:
    mesh = Mesh(np.asarray(jax.devices()[:count]), ("batch",), axis_types=(AxisType.Auto,))
    x, kernel = draw((16, side, side, 4, 5, 3, 1), jnp.float64)
    x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    return mesh, x, jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))


@pytest.mark.parametrize(("count", "side"), [(2, 8), (8, 8), (8, 2)])
@pytest.mark.usefixtures("x64")
def test_a_sharded_batch_stays_where_it_is(count: int, side: int) -> None:
    mesh, x, kernel = on_devices(count, side)
    gradient = jax.grad(function(conv2d, 1, 1), 1)
    compiled = jax.jit(gradient, out_shardings=NamedSharding(mesh, PartitionSpec())).lower(x, kernel).compile()
    text = compiled.as_text()
    assert text is not None
    # The sum over devices, once, and nothing else.
    moved = {op: text.count(f" {op}(") for op in ("all-gather", "all-to-all", "collective-permute", "all-reduce")}
    assert moved == {"all-gather": 0, "all-to-all": 0, "collective-permute": 0, "all-reduce": 1}
    close(compiled(x, kernel), jax.grad(function(lax_conv, 1, 1), 1)(x, kernel))


@pytest.mark.parametrize(("fast", "side"), [(False, 8), (True, 8), (False, 2)])
@pytest.mark.parametrize("check_vma", [False, True])
@pytest.mark.usefixtures("x64")
def test_shard_map(monkeypatch: pytest.MonkeyPatch, check_vma: bool, fast: bool, side: int) -> None:
    monkeypatch.setattr(cpu, "loop_pays", lambda *_: fast)
    jax.clear_caches()  # of the traces that asked the other way
    mesh, x, kernel = on_devices(4, side)
    back = jnp.ones((3, 3, 5, 2))

    def step(x: Array, kernel: Array) -> Array:
        gradient = jax.grad(lambda kernel: conv2d(conv2d(x, kernel, stride=1, pad=1), back, stride=1, pad=1).sum())(
            kernel
        )
        # With check_vma, the gradient of a kernel that all devices share comes summed over them.
        return gradient if check_vma else jax.lax.psum(gradient, "batch")

    specs = (PartitionSpec("batch"), PartitionSpec())
    mapped = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=check_vma)
    expected = jax.grad(lambda k: lax_conv(lax_conv(x, k, stride=1, pad=1), back, stride=1, pad=1).sum())(kernel)
    close(jax.jit(mapped)(x, kernel), expected)


@pytest.mark.usefixtures("x64")
def test_pmap() -> None:
    x, kernel = draw((16, 8, 8, 4, 5, 3, 1), jnp.float64)
    gradient = jax.grad(lambda kernel, x: conv2d(x, kernel, stride=1, pad=1).sum())
    mapped = jax.pmap(lambda x, kernel: jax.lax.psum(gradient(kernel, x), "batch"), "batch", in_axes=(0, None))
    expected = jax.grad(lambda kernel: lax_conv(x, kernel, stride=1, pad=1).sum())(kernel)
    close(mapped(x.reshape(8, 2, *x.shape[1:]), kernel)[0], expected)
