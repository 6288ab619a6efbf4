"""The instruments' figures, by what their axes hold."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from resnet_jax.errors import UserError
from resnet_jax.reports.figures.draw import figures
from resnet_jax.reports.figures.instruments import layer_responses, looks
from tests.reports.figures.test_errors import data, line


def measured(instrument: str, nets: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    facts = [
        {"name": f"{net}-20", "net": net, "depth": 20, "plain": net == "plain", **rest}
        for net, rest in zip(("plain", "resnet"), nets, strict=False)
    ]
    return {"instrument": instrument, "options": options, "nets": facts}


def test_responses_stand_in_order_and_sorted() -> None:
    figure = figures(measured("layer-responses", [{"std": [1.0, 3.0, 2.0]}, {"std": [0.5, 0.1, 0.2]}]))[""]
    in_order, by_size = figure.axes
    assert data(line(in_order, "plain-20")) == ([1, 2, 3], [1.0, 3.0, 2.0])
    assert data(line(by_size, "plain-20"))[1] == [3.0, 2.0, 1.0]
    assert data(line(by_size, "resnet-20"))[1] == [0.5, 0.2, 0.1]
    assert in_order.get_ylim() == by_size.get_ylim()


def test_gradients_in_training_have_a_figure_where_a_run_recorded_them() -> None:
    silent = {"initial": [1.0, 2.0], "layers": ["a", "b"], "steps": [], "training": []}
    recorded = {**silent, "steps": [0, 10, 20], "training": [[1.0, 2.0], [0.1, 0.2], [0.01, 0.0]]}
    assert set(figures(measured("gradient-flow", [silent]))) == {""}
    found = figures(measured("gradient-flow", [silent, recorded]))
    assert set(found) == {"", "-training"}
    panel = found["-training"].axes[0]
    (mesh,) = panel.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()), [[1.0, 0.1, 0.01], [2.0, 0.2, 0.0]])
    assert panel.get_title(loc="left") == "resnet-20"


def test_lesions_start_at_the_whole_net() -> None:
    net = {
        "blocks": ["stage1_block1", "stage1_block2"],
        "whole": 0.01,
        "single": [0.5, 0.02],
        "deleted": [[0.1, 0.3], [0.9, 0.9]],
        "swapped": [],
    }
    single, deleted = figures(measured("lesions", [net], split="test"))[""].axes  # no panel of swaps that none made
    assert data(line(single, "plain-20")) == ([1, 2], [50.0, 2.0])
    assert data(line(deleted, "plain-20")) == ([0, 1, 2], pytest.approx([1.0, 20.0, 90.0]))
    assert single.get_ylabel() == "test error (%)"


def test_landscapes_share_levels_and_keep_the_axes_apart() -> None:
    along = [-1.0, 0.0, 1.0]
    steep, flat = np.full((3, 3), 10.0), np.full((3, 3), 1.0)
    steep[0, 1], flat[1, 1] = 100.0, 0.01  # 100 at the first direction's -1
    nets = [{"along": along, "loss": grid.tolist(), "error": grid.tolist()} for grid in (steep, flat)]
    figure = figures(measured("loss-landscape", nets, dimensions=2))[""]
    contours = [axes for axes in figure.axes if axes.get_xlabel() == "first direction" and axes.name == "rectilinear"]
    norms = [axes.collections[0].norm for axes in contours]
    assert all(isinstance(norm, LogNorm) for norm in norms)
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(norms[0].vmin, norms[0].vmax)}
    assert norms[0].vmin == pytest.approx(0.01, rel=0.01)
    assert norms[0].vmax == pytest.approx(100.0, rel=0.01)
    assert contours[1].get_title(loc="left") == "resnet-20: loss 0.01 at +"
    highest = max(
        (p for path in contours[0].collections[0].get_paths()[-1:] for p in path.vertices), key=lambda p: p[0]
    )
    assert highest[0] < 0.0  # the top level lies on the side of the first direction's -1
    lines = figures(measured("loss-landscape", [{"along": along, "loss": [1, 2, 3], "error": [0, 0, 1]}], dimensions=1))
    assert data(line(lines[""].axes[0], "plain-20")) == (along, [1, 2, 3])


def test_nets_are_told_apart_by_more_than_colour() -> None:
    nets = [{"name": f"{net}-{d}", "net": net, "depth": d} for net in ("plain", "resnet") for d in (20, 56, 110)]
    found = looks(nets)
    assert len({look["color"] for look in found}) == len(nets)
    for kind in (found[:3], found[3:]):
        assert len({look["marker"] for look in kind}) == 3
    seeds = looks([{"name": f"resnet-20-seed{seed}", "net": "resnet", "depth": 20} for seed in range(3)])
    assert len({(str(look["linestyle"]), look["marker"]) for look in seeds}) == 3
    assert len({look["color"] for look in seeds}) == 1
    cut = looks([{"name": name, "net": "resnet", "depth": 20} for name in ("resnet-20", "resnet-20-cut=stage2")])
    assert len({look["color"] for look in cut}) == 2
    kinds = ("plain", "resnet", "preact-resnet", "resnet-B", "resnet-C")
    one_depth = looks([{"name": f"{net}-20", "net": net, "depth": 20} for net in kinds])
    assert len({(str(look["linestyle"]), str(look.get("markerfacecolor"))) for look in one_depth}) == len(kinds)


def test_what_is_no_measurement_is_said() -> None:
    with pytest.raises(UserError, match="instrument: got 'lesion'"):
        figures({"instrument": "lesion"})
    with pytest.raises(UserError, match="not a complete measurement of lesions"):
        figures({"instrument": "lesions", "nets": [{}], "options": {}})


def test_seeds_of_a_net_are_one_line_of_layer_responses_with_a_band() -> None:
    nets = [
        {"name": f"{net}-20-seed{seed}", "net": net, "depth": 20, "std": [1.0 + seed, 2.0, 3.0]}
        for net in ("plain", "resnet")
        for seed in (0, 1, 2)
    ]
    panel = layer_responses({"nets": nets}).axes[0]
    assert [line.get_label() for line in panel.get_lines()] == ["plain-20", "resnet-20"]
    assert list(panel.get_lines()[0].get_ydata()) == [2.0, 2.0, 3.0]
    assert len(panel.collections) == 2
