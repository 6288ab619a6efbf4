"""The devices of a run. Only this module has code for meshes, shardings, mapped axes and donation.

| mode      | input of the step  | communication is added by           | leaves of a state               |
|-----------|--------------------|-------------------------------------|---------------------------------|
| jit       | the global batch   | the compiler, from the shardings    | as in the net                   |
| shard_map | one device's shard | the step: pmean and psum            | as in the net                   |
| pmap      | one device's shard | the step: pmean and psum            | with a leading axis of devices  |
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_jax.config import BatchNormConfig, ExperimentConfig, ParallelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.layers import BatchStatsScope
from resnet_jax.text import plural, reason
from resnet_jax.training import processes
from resnet_jax.training.step import Parts
from resnet_jax.types import Tree

AXIS = "batch"
REPLICATED, SHARDED, STACKED = PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(None, AXIS)
# On a CPU, one of XLA's passes removes optimization barriers. Then XLA merges the two computations of a rematerialised
# block, so that no memory is saved. This option disables that pass. It is used only for train steps: an eval step needs
# no barriers, and jaxlib 0.12 cannot compile a barrier in a loop.
_CPU_OPTIONS: dict[str, str | bool] = {"xla_disable_hlo_passes": "cse_barrier_expander"}


@dataclass(frozen=True)
class Devices:
    """The devices of a run, and the way they share a batch."""

    mode: str
    mesh: Mesh

    @property
    def count(self) -> int:
        """Number of devices."""
        return self.mesh.size

    @property
    def first(self) -> jax.Device:
        """The first device of this process; all devices of the run have the same kind."""
        device: jax.Device = self.mesh.local_devices[0]
        return device

    @property
    def idle(self) -> int:
        """Number of devices of this process that the run does not use."""
        return len(jax.local_devices()) - len(self.mesh.local_devices)

    def rows(self, size: int) -> slice:
        """The rows of a global batch of `size` examples that the devices of this process need."""
        share = size // processes.count()
        return slice(processes.index() * share, (processes.index() + 1) * share)

    @property
    def axis_name(self) -> str | None:
        """The mapped axis that a step must reduce over; None under jit."""
        return None if self.mode == "jit" else AXIS

    def parts(self, accumulation: int) -> Parts:
        """Describes how a train step divides a batch into `accumulation` parts in this mode."""
        return Parts(accumulation, shards=self.count if self.mode == "jit" else 1)

    def batch_stats_scope(self, norm: BatchNormConfig, at_once: int) -> BatchStatsScope:
        """Describes which images share batch statistics in this mode, as `norm.scope` requires.

        The result has the number of groups of images in one call of the net. It also has the names of the mapped axes
        over which the statistics are averaged.

        `at_once` is the number of images in one forward pass on all devices: a batch, or a part of it.
        """
        per_call = at_once if self.mode == "jit" else at_once // self.count
        if norm.scope == "global":
            return BatchStatsScope(1, average_over=self.axis_name, running_over=None)
        if norm.scope == "device":
            # Under jit, groups and shards are both consecutive images, so they coincide.
            return BatchStatsScope(self.count if self.mode == "jit" else 1, running_over=self.axis_name)
        return BatchStatsScope(per_call // norm.ghost_size, running_over=self.axis_name)

    def replicate(self, tree: Tree) -> Tree:
        """Copies a tree to every device, for the `fixed` arguments of a compiled step.

        With several processes, all processes must pass equal values.
        """
        sharding = NamedSharding(self.mesh, REPLICATED)
        if processes.count() == 1:
            return jax.device_put(tree, sharding)

        def put(x: Any) -> jax.Array:
            if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                key: jax.Array = jax.jit(jax.random.wrap_key_data, out_shardings=sharding)(put(jax.random.key_data(x)))
                return key
            # device_put would compare the copies of all processes, which is slow.
            copy: jax.Array = jax.make_array_from_process_local_data(sharding, np.asarray(x), np.shape(x))
            return copy

        return jax.tree.map(put, tree)

    def replicate_state(self, state: Tree) -> Tree:
        """Copies a state to every device, for the `state` argument of a compiled step.

        Under pmap, each leaf gets a leading axis of D devices: [D, ...].
        """
        if self.mode != "pmap":
            return self.replicate(state)
        stacked = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (self.count, *np.shape(x))), state)
        return jax.device_put(stacked, NamedSharding(self.mesh, SHARDED))

    def shard(self, batch: Tree, *, stacked: bool = False) -> Tree:
        """Divides a batch over the devices, in consecutive shards.

        Args:
          batch: arrays [B, ...] on the host; with several processes, only the `rows` of this process.
          stacked: whether the arrays are K batches, [K, B, ...], for K steps in one dispatch.
        """
        if self.mode == "pmap":
            batch = jax.tree.map(self._by_device_stacked if stacked else self._by_device, batch)
        spec = STACKED if stacked and self.mode != "pmap" else SHARDED
        sharding = NamedSharding(self.mesh, spec)
        if processes.count() == 1:
            return jax.device_put(batch, sharding)
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)

    def fetch(self, tree: Tree) -> Tree:
        """Waits for a result of a compiled step, and returns it as NumPy arrays on the host."""
        if self.mode == "pmap":
            # The copy of the first device, because indexing the global array would dispatch a program.
            tree = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
            return jax.tree.map(lambda x: x[0], jax.device_get(tree))
        return jax.device_get(tree)

    def broadcast(self, tree: Tree) -> Tree:
        """Returns the tree of process 0 in every process, bit for bit, on the host.

        The trees of all processes must be on the host, with the same structure, shapes and dtypes.
        """
        if processes.count() == 1:
            return tree
        leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
        # Sums bytes, because a sum of floats would turn -0.0 into 0.0. One device of each process takes part.
        own = np.concatenate([np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8) for leaf in leaves])
        if not processes.primary():
            own = np.zeros_like(own)
        seats = self.mesh.devices.reshape(processes.count(), -1)[:, 0]
        mesh = Mesh(seats, (AXIS,), axis_types=(AxisType.Auto,))
        spread = jax.make_array_from_process_local_data(NamedSharding(mesh, SHARDED), own[None])
        add = jax.jit(lambda x: jnp.sum(x, axis=0, dtype=x.dtype), out_shardings=NamedSharding(mesh, REPLICATED))
        received = np.asarray(jax.device_get(add(spread))).tobytes()
        values, start = [], 0
        for leaf in leaves:
            piece = received[start : start + leaf.nbytes]
            values.append(np.frombuffer(piece, leaf.dtype).reshape(leaf.shape).copy())
            start += leaf.nbytes
        return jax.tree.unflatten(structure, values)

    def compile(
        self,
        step: Callable[..., Any],
        state: Tree,
        batch: Tree,
        *fixed: Tree,
        donate_state: bool,
        stacked: bool = False,
    ) -> jax.stages.Compiled:
        """Compiles `step(state, batch, *fixed)` for these devices and for the shapes of these arguments.

        Args:
          step: a function that returns a state, sums over the global batch, or both. Every device has equal results.
          state, batch, fixed: results of `replicate_state`, `shard` and `replicate`.
          donate_state: whether the buffers of the state are reused for the result. The state is then invalid after a
            call.
          stacked: whether `batch` has the batches of several steps; see `shard`.
        """
        donate = (0,) if donate_state else ()
        options = _CPU_OPTIONS if donate_state and self.first.platform == "cpu" else None
        if self.mode == "pmap":
            axes = (0, 0, *(None for _ in fixed))
            mapped = jax.pmap(step, AXIS, in_axes=axes, devices=list(self.mesh.devices.flat), donate_argnums=donate)
            return mapped.lower(state, batch, *fixed).compile(options)  # type: ignore[no-any-return]
        if self.mode == "shard_map":
            specs = (REPLICATED, STACKED if stacked else SHARDED, *(REPLICATED for _ in fixed))
            # With check_vma=True, gradients of replicated parameters would already be summed over devices, and the
            # step's pmean, which pmap needs, would be wrong.
            step = jax.shard_map(step, mesh=self.mesh, in_specs=specs, out_specs=REPLICATED, check_vma=False)
        jitted = jax.jit(step, donate_argnums=donate, out_shardings=NamedSharding(self.mesh, REPLICATED))
        return jitted.lower(state, batch, *fixed).compile(options)

    def _by_device(self, x: Any) -> Any:
        """Reshapes [B, ...] to [D, B / D, ...] for D devices."""
        return x.reshape(self.count, -1, *x.shape[1:])

    def _by_device_stacked(self, x: Any) -> Any:
        """Reshapes [K, B, ...] to [D, K, B / D, ...] for D devices and K steps."""
        return np.moveaxis(x.reshape(len(x), self.count, -1, *x.shape[2:]), 1, 0)


def devices(config: ParallelConfig) -> Devices:
    """The devices of a run, `config.devices` in all.

    Each process contributes the same number of devices, which are its first ones. The order of the result is the order
    of the processes.

    Raises:
      UserError: a process has too few devices, or `config.devices` is not a multiple of the number of processes.
      UserError: `config.processes` is neither "auto" nor the number of processes in this run.
    """
    require_backend()
    count = processes.count()
    if config.processes not in ("auto", count):
        raise UserError(
            f"parallel.processes: got {config.processes}; legal: 'auto', or {count}, the number of processes in this "
            f"run."
        )
    if config.devices % count:
        raise UserError(
            f"parallel.devices: got {config.devices}; legal: a multiple of {count}, the number of processes."
        )
    each, available = config.devices // count, jax.local_devices()
    if each > len(available):
        kind, total = available[0].platform, count * len(available)
        hint = f"; XLA_FLAGS=--xla_force_host_platform_device_count={each} makes virtual ones" * (kind == "cpu")
        where, parts = ("here", "") if count == 1 else ("in all processes", f", a multiple of {count}")
        raise UserError(
            f"parallel.devices: got {config.devices}; legal: {count} to {total}{parts}, because JAX sees "
            f"{plural(total, f'{kind} device')} {where}{hint}."
        )
    by_process: dict[int, list[jax.Device]] = {}
    for device in sorted(jax.devices(), key=lambda d: (d.process_index, d.id)):
        by_process.setdefault(device.process_index, []).append(device)
    chosen = [device for found in by_process.values() for device in found[:each]] if count > 1 else available[:each]
    # With Auto axes the compiler chooses shardings inside the step. Explicit axes, the default, would be part of types.
    mesh = Mesh(np.asarray(chosen), (AXIS,), axis_types=(AxisType.Auto,))
    return Devices(config.mode, mesh)


def require_backend() -> None:
    """Checks that JAX has devices.

    Raises:
      UserError: JAX has none, for example because JAX_PLATFORMS names a platform that is missing or not installed.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS") or "not set"
        why = f": {reason(error)}" if str(error) else ""  # JAX's assertion has no message
        raise UserError(
            f"JAX has no device to compute on (JAX_PLATFORMS is {asked}){why}. Install JAX for the device, as with "
            f"pip install 'jax[cuda13]', or set JAX_PLATFORMS=cpu."
        ) from error


def check_machine(config: ExperimentConfig) -> Devices:
    """Checks that this process can run `config`, and returns the devices.

    Raises:
      UserError: `config` needs more devices than there are, or float64 without JAX's x64 mode.
    """
    if config.model.dtype == "float64" and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise UserError("model.dtype: got 'float64', which needs JAX's x64 mode: set JAX_ENABLE_X64=1.")
    return devices(config.parallel)
