"""The report's answer in words. Every sentence follows from the numbers, and says so where they are too few."""

from __future__ import annotations

from resnet_jax.results.runs import Run
from resnet_jax.results.stats import Difference, paired_difference
from resnet_jax.results.text import (
    count,
    diverged_text,
    interval_words,
    listed,
    nets,
    percent,
    plural,
    summary_text,
)
from resnet_jax.results.variants import Comparison, Variant, test_error, train_error

QUESTION = (
    "Does adding layers make a net worse at fitting its own training data, and do shortcuts prevent it? "
    "If a deeper net has a higher training error than a shallower one, the cause is not overfitting: He et al. (2015) "
    "call this degradation."
)

METHOD = (
    "Errors are those of the net of the last step, never of the best epoch on the test set.",
    "Training and test error are measured in eval mode, each example counted once; a record in which the number of "
    "examples differs from the data set's is refused.",
    "The running training error is measured as the net changes, in train mode, as in the paper's training curves.",
    "Means are over seeds, with the sample standard deviation (divisor n \N{MINUS SIGN} 1); one seed has none.",
    "Differences are paired by seed: nets of one seed see the same batches. Intervals are 95 % t-intervals of the "
    "mean difference; with few seeds they are wide, and they say nothing of other data sets.",
    "Runs that diverged are counted and named; they are in no mean.",
)


def title(comparisons: tuple[Comparison, ...]) -> str:
    """The title of a report."""
    names = dict.fromkeys(c.cells[0].runs[0].record.data.name for c in comparisons)
    return f"Degradation versus depth: {listed(list(names))}"


def data_words(run: Run) -> str:
    """The data set in a few words."""
    data = run.record.data
    height, width, channels = data.image_shape
    return (
        f"{data.name} ({count(data.train_examples)} training and {count(data.test_examples)} test images of "
        f"{height}\N{MULTIPLICATION SIGN}{width}\N{MULTIPLICATION SIGN}{channels}, {data.num_classes} classes)"
    )


def answer(comparison: Comparison) -> str:
    """The comparison in one paragraph: what depth does to plain nets, to residual nets, and what shortcuts do."""
    budgets = sorted({cell.iterations for cell in comparison.cells})
    budget = f"{listed([count(b) for b in budgets])} iterations of {comparison.cells[0].config.train.batch_size} images"
    start, sentences = f"On {data_words(comparison.cells[0].runs[0])}, with {budget}, the", list[str]()
    verdicts: dict[str, str] = {}
    for net in comparison.nets:
        deeper = comparison.deeper_cells(net)
        if not deeper:
            continue
        base, deepest = comparison.base_cell(net), deeper[-1]
        apart = paired_difference(deepest.by_seed(train_error), base.by_seed(train_error))
        sentences.append(_depth_sentence(start, net, base, deepest, apart))
        start, verdicts[net] = "The", _verdict(apart)
    if not verdicts:
        sentences.append(f"{start[:-5]}: no two depths of one kind of net, so nothing can be said about depth.")
    twins = comparison.twins()
    if twins:
        sentences.append(_twin_sentence(*twins[-1]))
    if verdicts:
        sentences.append(_conclusion(comparison, verdicts))
    return " ".join(sentence for sentence in sentences if sentence)


def _depth_sentence(start: str, net: str, base: Variant, deepest: Variant, apart: Difference | None) -> str:
    text = (
        f"{start} training error of {nets(net)} is {_state(base)} at {base.depth} layers and "
        f"{_state(deepest)} at {deepest.depth}"
    )
    if apart is None:
        return f"{text}; no seed finished at both depths."
    return f"{text}, a difference of {percent(apart.mean, signed=True)} points {interval_words(apart)}."


def _twin_sentence(plain: Variant, other: Variant) -> str:
    training = paired_difference(other.by_seed(train_error), plain.by_seed(train_error))
    test = paired_difference(other.by_seed(test_error), plain.by_seed(test_error))
    if training is None or test is None:
        return ""
    sides = ["above" if apart.mean > 0.0 else "below" for apart in (training, test)]
    size = training if training.mean > 0.0 else training.negated()
    return (
        f"The training error of {other.name} is {percent(size.mean)} points {sides[0]} that of "
        f"{plain.name} {interval_words(size)}, its test error {percent(abs(test.mean))} points {sides[1]}."
    )


def _verdict(apart: Difference | None) -> str:
    """ "worse", "better", "unclear" (the interval includes zero), or "unknown" (no interval)."""
    if apart is None or apart.interval is None:
        return "unknown"
    if not apart.interval.excludes_zero:
        return "unclear"
    return "worse" if apart.mean > 0.0 else "better"


def _conclusion(comparison: Comparison, verdicts: dict[str, str]) -> str:
    groups = {
        "worse": "added layers raise the training error of {}: degradation, not overfitting",
        "better": "added layers lower the training error of {}",
        "unclear": "for {} the interval includes zero: no effect of depth on training error is established",
        "unknown": "for {} there are too few finished seeds for an interval, so nothing is concluded",
    }
    parts = []
    for verdict, sentence in groups.items():
        alike = [nets(net) for net in comparison.nets if verdicts.get(net) == verdict]
        if alike:
            parts.append(sentence.format(listed(alike)))
    return f"So {'; '.join(parts)}."


def _state(variant: Variant) -> str:
    summary = variant.summary(train_error)
    if summary is None:
        return diverged_text(variant.diverged, len(variant.runs))
    gone = f"; {variant.diverged} of {len(variant.runs)} diverged" if variant.diverged else ""
    seeds = plural(summary.n, "seed") + gone
    return f"{summary_text(summary)} % ({seeds})"
