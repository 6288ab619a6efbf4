"""One step, four ways to run it: the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.equivalence import largest_difference, parameters_after
from experiments.studies import experiments
from resnet_jax.config import BatchNormConfig, ExperimentConfig, ParallelConfig, override
from resnet_jax.data import normalization
from resnet_jax.data.augment import normalize
from resnet_jax.data.order import training_batches
from resnet_jax.errors import UserError
from resnet_jax.models.layers import BatchNorm, BatchStatsScope
from resnet_jax.models.resnet import build
from resnet_jax.training.mesh import devices
from resnet_jax.training.program import prepare
from resnet_jax.training.step import Parts

MODES = ("jit", "shard_map", "pmap")


def config_for(net: str, **changes: Any) -> ExperimentConfig:
    return override(experiments()[net], {k.replace("__", "."): v for k, v in changes.items()})


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("net", ["digits-plain", "digits-resnet"])
def test_all_modes_give_the_same_parameters_in_float64(net: str) -> None:
    # Rounding, 1e-16, grows a little through five steps; a real difference (unsynced BN, a mean for a sum) is 1e-3.
    # experiments/equivalence.py does it at depth 20, which takes long to compile.
    base = config_for(net, model__depth=8, model__dtype="float64", train__batch_size=64)
    (reference,) = parameters_after(base, (5,))
    for mode in MODES:
        config = override(base, {"parallel.mode": mode, "parallel.devices": 8})
        (got,) = parameters_after(config, (5,))
        assert largest_difference(got, reference) < 1e-11, mode


@pytest.mark.slow
@pytest.mark.parametrize("net", ["digits-resnet"])
def test_first_step_agrees_in_float32(net: str) -> None:
    """Loss, errors, logits and batch statistics of step 1, to 1e-5; see experiments/equivalence.py for later steps."""
    base = config_for(net, model__depth=8)
    outcomes = {}
    for mode, count in (("jit", 1), *((mode, 8) for mode in MODES)):
        program = prepare(override(base, {"parallel.mode": mode, "parallel.devices": count}))
        where = program.devices
        state = where.replicate_state(program.assembly.initial)
        batch = next(
            training_batches(seed=0, examples=len(program.assembly.dataset.train), batch_size=128, first_step=0)
        )
        split = program.assembly.dataset.train
        stats = normalization(split, program.assembly.config.data)
        scope = where.batch_stats_scope(program.assembly.config.model.norm, 128)
        model = build(program.assembly.config.model).clone(stats_scope=scope)

        def logits(state: Any, images: Any, model: Any = model, stats: Any = stats, axis: Any = where.axis_name) -> Any:
            x = normalize(images, jnp.asarray(stats.mean, jnp.float32), jnp.asarray(stats.std, jnp.float32))
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            out, _ = model.apply(variables, x, train=True, mutable=["batch_stats"])
            return out if axis is None else jax.lax.all_gather(out, axis, tiled=True)

        images = where.shard(split.images[batch.index])
        compiled = where.compile(logits, state, images, donate_state=False)
        out = where.fetch(compiled(state, images))
        state, report = program.train_on(state, [batch])
        outcomes[mode, count] = (out, where.fetch(report).sums, where.fetch(state).batch_stats)
    logits_1, sums_1, stats_1 = outcomes["jit", 1]
    for (mode, _), (logits_n, sums_n, stats_n) in outcomes.items():
        np.testing.assert_allclose(logits_n, logits_1, rtol=1e-5, atol=1e-5 * np.abs(logits_1).max(), err_msg=mode)
        assert sums_n.loss == pytest.approx(sums_1.loss, rel=1e-5), mode
        assert (sums_n.errors, sums_n.examples) == (sums_1.errors, sums_1.examples) == (sums_1.errors, 128.0), mode
        assert largest_difference(stats_n, stats_1) < 1e-5, mode


@pytest.mark.parametrize("mode", MODES)
def test_the_step_compiles_once_donates_its_state_and_moves_nothing_unasked(mode: str) -> None:
    program = prepare(config_for("digits-resnet", model__depth=8, parallel__mode=mode, parallel__devices=8))
    state = program.devices.replicate_state(program.assembly.initial)
    batches = training_batches(seed=0, examples=1437, batch_size=128, first_step=0)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"), jax.transfer_guard("disallow"):
        jnp.sin(np.ones(3, np.float32)).block_until_ready()  # the guard guards
    with jax.transfer_guard("disallow"), compilations() as seen:
        for _ in range(3):
            before = state
            state, report = program.train_on(state, [next(batches)])
            donated = (before.params, before.batch_stats, before.opt_state[1])  # and the momentum
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated))
        program.devices.fetch(report)
        assert program.evaluate(state, "test").examples == 360
    assert seen == []


def compilations() -> Any:
    """The compilations that happen inside the context, by name."""
    import contextlib
    import logging

    @contextlib.contextmanager
    def watching() -> Any:
        seen: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("jax._src.dispatch")
        propagated, logger.propagate = logger.propagate, False
        logger.addHandler(handler)
        try:
            with jax.log_compiles():
                yield (found := [])
                found.extend(m for m in seen if "Finished XLA compilation" in m)
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagated

    return watching()


def test_compilations_are_seen() -> None:
    with compilations() as seen:
        jax.jit(lambda x: x * 3 + 1)(jnp.arange(7))
    assert seen


@pytest.mark.parametrize("mode", MODES)
def test_device_scope_normalises_each_shard_by_itself(mode: str) -> None:
    """Changing one shard's images leaves the others' outputs alone in scope "device", not in "global"."""
    for scope, isolated in (("device", True), ("global", False)):
        where = devices(ParallelConfig(mode=mode, devices=4))  # type: ignore[arg-type]
        norm = BatchNormConfig(scope=scope)  # type: ignore[arg-type]
        config = override(ExperimentConfig(), {"model.depth": 8, "model.num_classes": 3}).model
        model = build(config).clone(stats_scope=where.batch_stats_scope(norm, 16))
        images = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype(np.float32)
        variables = build(config).init(jax.random.key(0), images[:1], train=False)
        state = where.replicate_state(jax.device_get(variables))

        def logits(state: Any, images: Any, model: Any = model, axis: Any = where.axis_name) -> Any:
            out, _ = model.apply(state, images, train=True, mutable=["batch_stats"])
            return out if axis is None else jax.lax.all_gather(out, axis, tiled=True)

        compiled = where.compile(logits, state, where.shard(images), donate_state=False)
        changed = images.copy()
        changed[:4] += 1.5
        first, second = (where.fetch(compiled(state, where.shard(x))) for x in (images, changed))
        assert not np.allclose(first[:4], second[:4])
        assert np.array_equal(first[4:], second[4:]) is isolated, (mode, scope)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("scope", "groups"), [("global", 1), ("device", 4), ("ghost", 8)])
@pytest.mark.usefixtures("x64")
def test_batch_norm_over_devices_equals_numpy_on_the_shards(mode: str, scope: str, groups: int) -> None:
    """Outputs, and the running statistics that every device keeps; four devices, groups of images in their order."""
    where = devices(ParallelConfig(mode=mode, devices=4))  # type: ignore[arg-type]
    stats_scope = where.batch_stats_scope(BatchNormConfig(scope=scope, ghost_size=2), 16)  # type: ignore[arg-type]
    layer = BatchNorm(0.9, 1e-5, stats_scope, jnp.float64)
    draw = np.random.default_rng(0)
    x = draw.normal(2.0, 3.0, size=(16, 4, 5, 3)) + np.arange(16.0).reshape(16, 1, 1, 1)
    params = {"scale": draw.uniform(0.5, 2.0, 3), "bias": draw.normal(size=3)}
    state = {"params": params, "batch_stats": {"mean": draw.normal(size=3), "var": draw.uniform(0.5, 2.0, 3)}}

    def normalise(state: Any, x: Any) -> Any:
        y, updated = layer.apply(state, x, train=True, mutable=["batch_stats"])
        axis = where.axis_name
        everyone = y if axis is None else jax.lax.all_gather(y, axis, tiled=True)
        return everyone, updated["batch_stats"]

    on_devices = where.replicate_state(state)
    compiled = where.compile(normalise, on_devices, where.shard(x), donate_state=False)
    y, kept = where.fetch(compiled(on_devices, where.shard(x)))
    parts = np.split(x, groups)
    means, variances = (np.stack([f(part, axis=(0, 1, 2)) for part in parts]) for f in (np.mean, np.var))
    expected = [
        (part - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]
        for part, mean, variance in zip(parts, means, variances, strict=True)
    ]
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=0, atol=1e-12)
    for name, batch in (("mean", means), ("var", variances)):
        running = 0.9 * state["batch_stats"][name] + 0.1 * batch.mean(axis=0)
        np.testing.assert_allclose(kept[name], running, rtol=1e-12)


def test_what_a_scope_means_in_each_mode() -> None:
    scopes = {
        (mode, scope): devices(ParallelConfig(mode=mode, devices=4)).batch_stats_scope(  # type: ignore[arg-type]
            BatchNormConfig(scope=scope, ghost_size=8),  # type: ignore[arg-type]
            128,
        )
        for mode in MODES
        for scope in ("global", "device", "ghost")
    }
    assert scopes["jit", "global"] == BatchStatsScope(1, None, None)
    assert scopes["jit", "device"] == BatchStatsScope(4, None, None)
    assert scopes["jit", "ghost"] == BatchStatsScope(16, None, None)
    for mode in ("shard_map", "pmap"):
        assert scopes[mode, "global"] == BatchStatsScope(1, "batch", None)
        assert scopes[mode, "device"] == BatchStatsScope(1, None, "batch")
        assert scopes[mode, "ghost"] == BatchStatsScope(4, None, "batch")


def test_what_accumulation_means_in_each_mode() -> None:
    parts = {mode: devices(ParallelConfig(mode=mode, devices=4)).parts(2) for mode in MODES}  # type: ignore[arg-type]
    # Under jit the step sees the shards of all four.
    assert parts["jit"] == Parts(2, shards=4)
    assert parts["shard_map"] == parts["pmap"] == Parts(2, shards=1)


def test_more_devices_than_there_are_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"parallel\.devices: got 9; legal: 1 to 8, because JAX sees 8 cpu devices"):
        devices(ParallelConfig(devices=9))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [2, 8])
def test_shards_are_consecutive_and_fetch_restores(mode: str, count: int) -> None:
    where = devices(ParallelConfig(mode=mode, devices=count))  # type: ignore[arg-type]
    batch = np.arange(16)
    placed = where.shard(batch)
    for i, shard in enumerate(sorted(placed.addressable_shards, key=lambda s: s.device.id)):
        np.testing.assert_array_equal(np.ravel(shard.data), np.split(batch, count)[i])
    state = {"a": np.arange(3.0, dtype=np.float32), "b": np.int32(4)}
    jax.tree.map(np.testing.assert_array_equal, where.fetch(where.replicate_state(state)), state)


def test_a_platform_that_is_not_here_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr(jax, "devices", nothing)
    with pytest.raises(UserError, match=r"JAX has no device .*initialize backend 'cuda'.* set JAX_PLATFORMS=cpu\."):
        devices(ParallelConfig())
