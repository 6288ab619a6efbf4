"""The loss landscape: filters' norms by hand, losses by NumPy, and what an interruption leaves."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.analysis import loss_landscape
from resnet_jax.analysis.instruments.loss_landscape import LossLandscape, measure
from resnet_jax.analysis.loss_landscape import Landscape, filter_normalised, random_directions
from resnet_jax.analysis.net import Loader
from resnet_jax.analysis.options import Workspace
from resnet_jax.config import override
from tests.analysis.reference import NumPyNet, cross_entropy, examples, small
from tests.training.test_loop import SMALL


def test_every_filter_of_a_direction_has_the_norm_of_the_nets() -> None:
    rng = np.random.default_rng(0)
    params = {"conv": {"kernel": rng.standard_normal((3, 3, 2, 4))}, "head": {"kernel": rng.standard_normal((5, 3))}}
    params["norm"] = {"scale": rng.standard_normal(4), "bias": rng.standard_normal(4)}
    draw: Any = jax.tree.map(lambda w: rng.standard_normal(w.shape), params)
    found = filter_normalised(draw, params)
    for f in range(4):
        d, w = draw["conv"]["kernel"][:, :, :, f], params["conv"]["kernel"][:, :, :, f]
        by_hand = d * np.sqrt((w**2).sum()) / np.sqrt((d**2).sum())
        np.testing.assert_allclose(found["conv"]["kernel"][:, :, :, f], by_hand, rtol=1e-14)
    for f in range(3):
        d, w = draw["head"]["kernel"][:, f], params["head"]["kernel"][:, f]
        np.testing.assert_allclose(found["head"]["kernel"][:, f], d * np.linalg.norm(w) / np.linalg.norm(d), rtol=1e-14)
    assert not found["norm"]["scale"].any()
    assert not found["norm"]["bias"].any()


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.usefixtures("x64")
def test_the_loss_at_a_point_is_that_of_the_net_moved_there(recomputed: bool) -> None:
    model, variables = small(8)
    images, labels = examples(10)
    directions = random_directions(variables["params"], 2, seed=3)
    landscape = Landscape(model, variables, directions, images, labels, batch_size=4, recomputed=recomputed)
    assert landscape.images == 8  # two whole batches
    points = np.array([[0.0, 0.0], [0.5, -0.25]])
    found = landscape.at(points)
    for i, (a, b) in enumerate(points):
        params = jax.tree.map(lambda w, d, e, a=a, b=b: w + a * d + b * e, variables["params"], *directions)
        net = NumPyNet(model, {**variables, "params": params}, train=recomputed)
        logits = np.concatenate([net(images[:4]), net(images[4:8])])
        assert found.loss[i] == pytest.approx(cross_entropy(logits, labels[:8]), rel=1e-10)
        assert found.error[i] == (logits.argmax(1) != labels[:8]).mean()


def without_times(measured: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in measured.items() if name != "seconds"}


def test_an_interrupted_measurement_goes_on_and_another_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Loader().untrained(override(SMALL, {"train.batch_size": 32}), "net")
    options, workspace = LossLandscape(points=5, images=32), Workspace(scratch=tmp_path / "part")
    whole = without_times(measure(net, options, Workspace()))
    at, calls = Landscape.at, list[int]()

    def counted(self: Landscape, points: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(points))
        return at(self, points)

    monkeypatch.setattr(loss_landscape.Landscape, "at", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(net, options, workspace)
    calls[:] = [0]  # one more row before the next
    with pytest.raises(KeyboardInterrupt):
        measure(net, options, workspace)
    monkeypatch.setattr(loss_landscape.Landscape, "at", lambda self, points: calls.append(1) or at(self, points))
    calls.clear()
    assert without_times(measure(net, options, workspace)) == whole
    assert len(calls) == 2  # of five rows
    calls.clear()
    assert without_times(measure(net, LossLandscape(points=5, images=32, seed=1), workspace)) != whole
    assert len(calls) == 5
    assert np.shape(whole["loss"]) == (5, 5)
    assert whole["along"] == [-1.0, -0.5, 0.0, 0.5, 1.0]
