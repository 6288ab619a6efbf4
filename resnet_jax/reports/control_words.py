"""The control of control.py in sentences: the gap, what is left of it, and what that allows to be concluded."""

from __future__ import annotations

from resnet_jax.reports.comparison import Variant, train_error
from resnet_jax.reports.control import Control, as_long, errors_apart, mean_train_error
from resnet_jax.reports.stats import MIN_PAIRS, Difference
from resnet_jax.reports.text import (
    count,
    diverged_text,
    interval_words,
    listed,
    percent,
    plural,
    points,
    sided,
    summary_text,
)


def control_words(control: Control) -> tuple[str, ...]:
    """The control in sentences, a paragraph each: the gap, what is left of it, the residual net, the conclusion."""
    paragraphs = [_gap_words(control), _left_words(control), _residual_words(control), _rates_words(control)]
    paragraphs.append(_conclusion_words(control))
    paragraphs.append(
        "For comparison: He et al. 2015, Sec. 4.1, report that on ImageNet, too, plain nets trained for three times "
        "as many iterations still degrade, and take it that more iterations alone do not solve the problem."
    )
    return tuple(text for text in paragraphs if text)


def _gap_words(control: Control) -> str:
    if control.shallow is None:
        return f"The runs given hold no shallower plain net beside {control.base.name}, so there is no gap to measure."
    if control.gap is None:
        return f"{_diverged(control.base, control.shallow)}There is no gap to measure: no run of one side finished."
    return (
        f"With {_budget(control.base)}, the training error of {control.base.name} is {_words(control.base)} and that "
        f"of {control.shallow.name} {_words(control.shallow)}: a gap of {_points(control.gap)}. "
        f"{_diverged(control.base, control.shallow)}"
    ).strip()


def _left_words(control: Control) -> str:
    best, base = control.best, control.base
    rates = len({point.schedule for point in control.largest})
    longest = max(point.iterations for point in control.points)
    effort = f"With {_times(longest, base.iterations)}"
    if best is None:
        return f"{effort}, every run of {base.name} diverged."
    choice = (
        f"the best of {rates} rates ({best.schedule}, chosen on mean training error, which favours the plain net)"
        if rates > 1
        else f"rate {best.schedule}, the only one tried"
    )
    text = f"{effort} at {choice}, {base.name} reaches {_words(best)}"
    gap, left = control.gap, control.left
    if control.shallow is None or gap is None or left is None:
        return f"{text}. {_diverged(*control.largest)}".strip()
    share = f", {100.0 * left.mean / gap.mean:.0f} % of the gap" if gap.mean > 0.0 and left.mean > 0.0 else ""
    text += f": {_against(left)} {control.shallow.name} with {_budget(control.shallow)}{share}."
    for same in as_long(control, control.shallow):
        apart = errors_apart(best, same)
        if apart is not None:
            text += f" That is {_against(apart)} {same.name} with {_budget(same)} as well, which has {_words(same)}."
    return f"{text} {_diverged(*control.largest)}".strip()


def _residual_words(control: Control) -> str:
    if control.residual is None or control.best is None:
        return ""
    sentences = []
    for other in (control.residual, *as_long(control, control.residual)):
        apart = errors_apart(control.best, other)
        if apart is None:
            sentences.append(f"No run of {other.name} with {_budget(other)} finished.")
        else:
            who = f"the equally deep {other.name} with {_budget(other)}"
            sentences.append(f"It is {_against(apart)} {who}, which has {_words(other)}.")
    return " ".join(sentences)


def _rates_words(control: Control) -> str:
    """The rates that were tried of the deepest plain net in smaller budgets, and of its twin.

    Those of the plain net's largest budget are told with what is left.
    """
    sentences = []
    for iterations in sorted({point.iterations for point in control.points}):
        alike = [control.points] if iterations < control.largest[0].iterations else []
        if control.residual is not None:
            name = control.residual.name
            alike.append(tuple(v for v in (control.residual, *control.references) if v.name == name))
        for variants in alike:
            tried = sorted((v for v in variants if v.iterations == iterations and v.finished), key=mean_train_error)
            if len(tried) > 1:
                best, *others = tried
                sentences.append(
                    f"With {count(iterations)} iterations the best of {len(tried)} rates is {best.schedule}, where "
                    f"the training error of {best.name} is {_words(best)}; it is "
                    f"{listed([f'{_words(other)} at {other.schedule}' for other in others])}."
                )
    return " ".join(sentences)


def _conclusion_words(control: Control) -> str:
    gap, left, gone = control.gap, control.left, control.gone
    if gap is None or left is None or gone is None or control.best is None:
        return "So these runs do not answer whether longer training closes the gap."
    longer = control.best.iterations > control.base.iterations
    more, cause = ("more training", "slow optimisation") if longer else ("another rate", "the choice of rate")
    went, remain = percent(abs(gone.mean)), percent(left.mean)
    match control.conclusion:
        case "too few seeds":
            return (
                f"The numbers: a gap of {points(gap)}, and {points(left)} left. They are of fewer than "
                f"{MIN_PAIRS} seeds, too few to conclude anything from."
            )
        case "no gap":
            return "These runs establish no gap to begin with: its interval reaches zero, so there is none to close."
        case "closed":
            return (
                f"Conclusion: {more} closes the gap to within one point. On these data the gap with "
                f"{_budget(control.base)} was {cause}."
            )
        case "partly closed":
            return (
                f"Conclusion: part of the gap was {cause}, {went} points of it {interval_words(gone)}; "
                f"{remain} points remain {interval_words(left)}, and {more} of this amount does not close them."
            )
        case "not reduced":
            return (
                f"Conclusion: {more} does not measurably reduce the gap (change {percent(-gone.mean, signed=True)} "
                f"points, its interval includes zero); {remain} points remain {interval_words(left)}."
            )
        case "larger":
            return f"Conclusion: {more} made the gap larger, by {went} points; {remain} points remain."
        case _:
            return (
                f"Conclusion: undecided. What is left, {percent(left.mean, signed=True)} points, may be nothing or "
                f"several points {interval_words(left)}; more seeds are needed."
            )


def _budget(variant: Variant) -> str:
    return f"{count(variant.iterations)} iterations at rate {variant.schedule}"


def _times(iterations: int, base: int) -> str:
    if iterations == base:
        return f"the same {count(iterations)} iterations"
    return f"{iterations / base:.3g} times the iterations ({count(iterations)})"


def _words(variant: Variant) -> str:
    summary = variant.summary(train_error)
    if summary is None:
        return diverged_text(variant.diverged, len(variant.runs))
    return f"{summary_text(summary)} % ({plural(summary.n, 'seed')})"


def _points(apart: Difference) -> str:
    return f"{points(apart)} {interval_words(apart)}"


def _against(apart: Difference) -> str:
    size, side = sided(apart)
    return f"{_points(size)} {side}"


def _diverged(*variants: Variant) -> str:
    """A sentence on runs that diverged and so are in no mean, or nothing."""
    told = [
        f"{v.name} at rate {v.schedule}, {count(v.iterations)} iterations: {diverged_text(v.diverged, len(v.runs))}"
        for v in variants
        if v.diverged
    ]
    return f"Not in these means: {'; '.join(told)}. " if told else ""
