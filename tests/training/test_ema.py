"""The average of the parameters against the weighted mean that it is."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.analysis.net import Loader
from resnet_jax.config import OptimConfig, override
from resnet_jax.record import read_record
from resnet_jax.training.assemble import assemble
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.ema import evaluated, update, with_batch_stats
from resnet_jax.training.program import prepare
from resnet_jax.training.restore import load_finished
from resnet_jax.training.run import run
from resnet_jax.training.state import AveragedState, fingerprint
from resnet_jax.weights import files
from tests.training.test_loop import SMALL

AVERAGED = override(SMALL, {"optim.ema": 0.8, "train.iterations": 14, "optim.milestones": (8,)})


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
@pytest.mark.usefixtures("x64")
def test_an_average_is_the_weighted_mean_of_all_steps_so_far(decay: float) -> None:
    steps = np.random.default_rng(0).normal(size=(12, 3))
    average = {"params": {"w": jnp.full(3, 99.0)}, "batch_stats": {"mean": jnp.zeros(3)}}
    for t in range(1, 13):
        new = jnp.asarray(steps[t - 1])
        average = update(average, {"w": new}, {"mean": 2.0 * new}, jnp.asarray(t, jnp.int32), decay)
        weights = decay ** np.arange(t - 1, -1, -1.0)  # 0 ** 0 is 1
        expected = (weights[:, None] * steps[:t]).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(average["params"]["w"], expected, rtol=1e-10)
        np.testing.assert_allclose(average["batch_stats"]["mean"], 2.0 * expected, rtol=1e-10)


def test_without_memory_it_is_the_last_step_and_what_never_changes_stays_to_the_bit() -> None:
    rng = np.random.default_rng(1)
    fixed = jnp.asarray(rng.normal(size=100), jnp.float32)
    for decay in (0.0, 0.9):
        average = {"params": {"w": fixed, "fixed": fixed}, "batch_stats": {}}
        for t in range(1, 6):
            new = jnp.asarray(rng.normal(size=100), jnp.float32)
            average = update(average, {"w": new, "fixed": fixed}, {}, jnp.asarray(t, jnp.int32), decay)
            assert np.asarray(average["params"]["fixed"]).tobytes() == np.asarray(fixed).tobytes()
        assert (np.asarray(average["params"]["w"]).tobytes() == np.asarray(new).tobytes()) == (decay == 0.0)


def test_training_is_the_same_with_and_without_an_average_and_the_average_is_of_its_steps() -> None:
    program, other = prepare(AVERAGED), prepare(override(AVERAGED, {"optim.ema": None}))
    state, without = program.put(program.assembly.initial), other.put(other.assembly.initial)
    kept = []
    for step in range(5):
        state, _ = program.train(state, range(step, step + 1))
        without, _ = other.train(without, range(step, step + 1))
        kept.append(program.fetch(state))
    last, plain = kept[-1], other.fetch(without)
    assert isinstance(last, AveragedState)
    assert not isinstance(plain, AveragedState)
    for ours, theirs in ((last.params, plain.params), (last.batch_stats, plain.batch_stats)):
        assert fingerprint(ours) == fingerprint(theirs)
    weights = 0.8 ** np.arange(4, -1, -1.0)
    for name in ("params", "batch_stats"):
        leaves = zip(*(jax.tree.leaves(getattr(s, name)) for s in kept), strict=True)
        for average, steps in zip(jax.tree.leaves(last.average[name]), leaves, strict=True):
            mean = sum(w * s.astype(np.float64) for w, s in zip(weights, steps, strict=True)) / weights.sum()
            np.testing.assert_allclose(average, mean, rtol=1e-5, atol=1e-6)
    # What is evaluated is chosen, and both kinds differ.
    assert evaluated(last, OptimConfig(ema=0.8)).params is last.average["params"]
    assert evaluated(last, OptimConfig(ema=0.8, ema_evaluated=False)).params is last.params
    assert program.evaluate(state, "test").loss != pytest.approx(other.evaluate(without, "test").loss, rel=1e-3)


@pytest.mark.parametrize("chosen", [True, False])
def test_what_is_evaluated_is_what_a_run_leaves(tmp_path: Path, chosen: bool) -> None:
    config, directory = override(AVERAGED, {"optim.ema_evaluated": chosen}), tmp_path / "run"
    record = run(config, directory, study="test")
    assert read_record(directory / "record.json").config.optim.ema == 0.8
    assembly = assemble(config)
    restored = Checkpoints(directory / "checkpoints", keep=1).restore(assembly.blank, assembly.dataset.fingerprint)
    assert restored is not None
    state = restored[0]
    assert isinstance(state, AveragedState)
    assert fingerprint(state.params) == record.final_fingerprint != fingerprint(state.average["params"])
    params = state.average["params"] if chosen else state.params
    assert files.load(directory / "weights").origin.digest == fingerprint(params)  # type: ignore[union-attr]
    assert fingerprint(Loader().trained(directory, "net").variables["params"]) == fingerprint(params)
    program, last = load_finished(directory)
    assert record.final is not None
    assert program.evaluate(last, "test").mean_loss == pytest.approx(record.final.test_loss, rel=1e-6)


def test_recomputed_statistics_go_to_the_net_that_is_evaluated() -> None:
    state = assemble(AVERAGED).initial
    other = jax.tree.map(lambda leaf: leaf + 1, state.batch_stats)
    for chosen in (True, False):
        config = OptimConfig(ema=0.8, ema_evaluated=chosen)
        changed = with_batch_stats(state, config, other)
        assert evaluated(changed, config).batch_stats is other
        assert isinstance(changed, AveragedState)
        untouched = changed.batch_stats if chosen else changed.average["batch_stats"]
        assert fingerprint(untouched) == fingerprint(state.batch_stats)
