"""The report's answer in words. Every sentence follows from the numbers, and says so where they are too few."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_jax.reports.comparison import Comparison, Variant, test_error, train_error
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import MIN_PAIRS, Difference, paired_difference
from resnet_jax.reports.text import (
    count,
    diverged_text,
    interval_words,
    listed,
    nets,
    plural,
    points,
    sided,
    summary_text,
)

DEPTH = "Degradation versus depth"
QUESTIONS = {
    DEPTH: (
        "Does adding layers make a net worse at fitting its own training data, and do shortcuts prevent it? If a "
        "deeper net has a higher training error than a shallower one, the cause is not overfitting: He et al. (2015) "
        "call this degradation."
    ),
    "Shortcuts": (
        "Must the shortcuts of a deep net be identities? He et al. (2016, Sec. 3) argue that what scales, gates, "
        "convolves or drops the signal on a shortcut multiplies up over the blocks, forward and backward, and hampers "
        "optimisation, though gates and convolutions could represent the identity and more."
    ),
    "Orders of activations": (
        "Where should BN and ReLU stand in a residual block? He et al. (2016, Sec. 4) argue that what follows the "
        "addition should be the identity too: activations go before the weights."
    ),
    "Pre-activation": "Does full pre-activation help deep nets (He et al. 2016, Table 3)?",
}

METHOD = (
    "Errors are those of the net of the last step, never of the best epoch on the test set.",
    "Training and test error are measured in eval mode, each example counted once; a record in which the number of "
    "examples differs from the data set's is refused.",
    "The running training error is measured as the net changes, in train mode, as in the paper's training curves.",
    "Means are over seeds, with the sample standard deviation (divisor n \N{MINUS SIGN} 1); one seed has none.",
    "Differences are paired by seed: nets of one seed see the same batches. Intervals are 95 % t-intervals of the "
    f"mean difference, given from {MIN_PAIRS} pairs on; with fewer, the difference of each seed is shown. With few "
    "seeds they are wide, and they say nothing of other data sets.",
    "Runs that diverged are counted and named; they are in no mean.",
)


def title(subjects: Sequence[str], comparisons: tuple[Comparison, ...]) -> str:
    """The title of a report; subjects are keys of QUESTIONS."""
    names = dict.fromkeys(c.cells[0].runs[0].record.data.name for c in comparisons)
    return f"{listed(list(dict.fromkeys(subjects)))}: {listed(list(names))}"


def data_words(run: Run) -> str:
    """The data set in a few words."""
    data = run.record.data
    height, width, channels = data.image_shape
    return (
        f"{data.name} ({count(data.train_examples)} training and {count(data.test_examples)} test images of "
        f"{height}\N{MULTIPLICATION SIGN}{width}\N{MULTIPLICATION SIGN}{channels}, {data.num_classes} classes)"
    )


def setting_words(comparison: Comparison) -> str:
    """The beginning of a sentence: on which data, with how many iterations."""
    budgets = sorted({cell.iterations for cell in comparison.cells})
    budget = f"{listed([count(b) for b in budgets])} iterations of {comparison.cells[0].config.train.batch_size} images"
    return f"On {data_words(comparison.cells[0].runs[0])}, with {budget}"


def answer(comparison: Comparison) -> str:
    """The comparison in one paragraph: what depth does to plain nets, to residual nets, and what shortcuts do."""
    start, sentences = f"{setting_words(comparison)}, the", list[str]()
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


def headline(comparison: Comparison) -> str:
    """The answer in one sentence: for each kind of net, the verdict on depth and the numbers that it follows from."""
    clauses = []
    for net in comparison.nets:
        deeper = comparison.deeper_cells(net)
        if not deeper:
            continue
        base, deepest = comparison.base_cell(net), deeper[-1]
        apart = paired_difference(deepest.by_seed(train_error), base.by_seed(train_error))
        who, layers = nets(net), f"from {base.depth} to {deepest.depth} layers"
        if apart is None:
            clauses.append(f"no seed of {who} finished at both {base.depth} and {deepest.depth} layers")
            continue
        verdict = _verdict(apart)
        if verdict == "equal":
            depths = f"{base.depth} and {deepest.depth} layers"
            clauses.append(
                f"{who} have the same training error at {depths} with every seed ({plural(apart.n, 'pair')})"
            )
            continue
        claim = {
            "worse": f"{who} degrade {layers}",
            "better": f"{who} gain {layers}",
            "unclear": f"for {who} no effect of depth is established {layers}",
            "unknown": f"{who} {layers}",
        }[verdict]
        clauses.append(f"{claim}: {points(apart, signed=True)} of training error {interval_words(apart)}")
    told = "; ".join(clauses) or "no two depths of one kind of net are here, so nothing can be said about depth"
    return f"On {comparison.cells[0].runs[0].record.data.name}, {told}."


def _depth_sentence(start: str, net: str, base: Variant, deepest: Variant, apart: Difference | None) -> str:
    text = (
        f"{start} training error of {nets(net)} is {_state(base)} at {base.depth} layers and "
        f"{_state(deepest)} at {deepest.depth}"
    )
    if apart is None:
        return f"{text}; no seed finished at both depths."
    return f"{text}, a difference of {points(apart, signed=True)} {interval_words(apart)}."


def _twin_sentence(plain: Variant, other: Variant) -> str:
    training = paired_difference(other.by_seed(train_error), plain.by_seed(train_error))
    test = paired_difference(other.by_seed(test_error), plain.by_seed(test_error))
    if training is None or test is None:
        return ""
    (training, side), (test, test_side) = sided(training), sided(test)
    return (
        f"The training error of {other.name} is {points(training)} {side} that of {plain.name} "
        f"{interval_words(training)}, its test error {points(test)} {test_side}{' it' * (test_side == 'from')}."
    )


def _verdict(apart: Difference | None) -> str:
    """ "worse", "better", "equal" (with every seed), "unclear" (the interval includes zero), or "unknown" (too few
    seeds for an interval)."""
    if apart is None or apart.interval is None:
        return "unknown"
    if not any(apart.values):
        return "equal"
    if not apart.interval.excludes_zero:
        return "unclear"
    return "worse" if apart.mean > 0.0 else "better"


def _conclusion(comparison: Comparison, verdicts: dict[str, str]) -> str:
    groups = {
        "worse": "added layers raise the training error of {}: degradation, not overfitting",
        "better": "added layers lower the training error of {}",
        "equal": "the training error of {} is the same at both depths with every seed",
        "unclear": "for {} the interval includes zero: no effect of depth on training error is established",
        "unknown": f"for {{}} fewer than {MIN_PAIRS} seeds finished at both depths, too few to conclude anything from",
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
