"""The figure of the control experiment: training error against the number of iterations (the budget)."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from resnet_jax.reports.comparison import Variant
from resnet_jax.reports.control import Control
from resnet_jax.reports.figures.style import MARKERS, STYLE, from_zero, kind_colours, shade, spread
from resnet_jax.reports.text import TIMES, count

_BASE_MARKERS = {True: MARKERS[0], False: MARKERS[1]}
_OTHER_MARKERS = MARKERS[2:]


def error_against_budget(control: Control) -> Figure:
    """Draws training error in per cent by number of iterations, for the nets and learning rates of a control
    experiment.

    Each number of iterations is a vertical band. Inside a band, each net and rate has its own column, so that points at
    zero do not overlap. A line joins the points of a net at the learning rate of the main comparison, with circles for
    plain nets and squares for residual nets. Other rates have open markers without a line.
    """
    nets = [net for net in (control.shallow_residual, control.shallow, control.residual, control.base) if net]
    everything = (*control.points, *control.references, *nets)
    drawn = {net.name: [v for v in everything if v.name == net.name and v.finished] for net in nets}
    rates = {v.schedule: -v.rate for variants in drawn.values() for v in variants}
    others = sorted(rates.keys() - {control.base.schedule}, key=lambda schedule: (rates[schedule], schedule))
    columns = [
        (net, schedule)
        for net in nets
        for schedule in (control.base.schedule, *others)
        if any(v.schedule == schedule for v in drawn[net.name])
    ]
    budgets = sorted({v.iterations for variants in drawn.values() for v in variants})
    colours = kind_colours([net.net for net in nets])
    step = 1.0 / (len(columns) + 1.5)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for place in range(0, len(budgets), 2):
            axes.axvspan(place - 0.5, place + 0.5, color="#f4f4f4", zorder=0.1, linewidth=0.0)
        for number, (net, schedule) in enumerate(columns):
            shift = (number - (len(columns) - 1) / 2.0) * step
            points = _by_budget([v for v in drawn[net.name] if v.schedule == schedule])
            shown = [(budgets.index(p.iterations) + shift, s) for p in points if (s := p.summary("train_error"))]
            base = schedule == control.base.schedule
            mark = _BASE_MARKERS[net.is_plain] if base else _OTHER_MARKERS[others.index(schedule) % len(_OTHER_MARKERS)]
            axes.errorbar(
                [x for x, _ in shown],
                [100.0 * s.mean for _, s in shown],
                yerr=[spread(s) for _, s in shown],
                color=shade(colours[net.net], net.depth),
                marker=mark,
                markerfacecolor=None if base else "white",
                markersize=5.5,
                linewidth=1.3,
                linestyle="-" if base else "none",
                capsize=2.5,
                label=f"{net.name}, rate {schedule}" if others else net.name,
            )
        times = [f"{count(b)} iterations\n({b / control.base.iterations:.3g}{TIMES})" for b in budgets]
        axes.set_xticks(range(len(budgets)), times)
        axes.set_xlim(-0.5, len(budgets) - 0.5)
        axes.tick_params(axis="x", length=0.0)
        axes.set_ylabel("training error (%)")
        from_zero(axes)
        figure.legend(loc="outside right upper")
        return figure


def _by_budget(variants: Sequence[Variant]) -> list[Variant]:
    return list({v.iterations: v for v in sorted(variants, key=lambda v: v.iterations)}.values())
