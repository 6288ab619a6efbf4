"""The texts of a report that do not depend on its numbers: the questions, and how each number was measured."""

from collections.abc import Sequence

from resnet_jax.reports.comparison import Comparison
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import MIN_PAIRS
from resnet_jax.reports.text import count, listed

QUESTIONS = {
    "Degradation versus depth": (
        "Does adding layers make a net worse at fitting its own training data, and do shortcuts prevent it? If a "
        "deeper net has a higher training error than a shallower one, the cause is not overfitting: He et al. (2015) "
        "call this degradation. Depth is counted from the shallowest net of at least 20 layers, because degradation is "
        "about layers added to a net that already works."
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
    "The running training error is measured during training, in train mode, as in the paper's training curves.",
    "Means are over seeds, with the sample standard deviation (divisor n \N{MINUS SIGN} 1); one seed has none.",
    "Differences are paired by seed: nets of one seed see the same batches. Intervals are 95 % t-intervals of the "
    f"mean difference, given from {MIN_PAIRS} pairs on; with fewer, the difference of each seed is shown. With few "
    "seeds they are wide, and they say nothing of other data sets.",
    "Diverged runs are counted and named, but left out of all means.",
)


def title(subjects: Sequence[str], comparisons: Sequence[Comparison]) -> str:
    """The title of a report, such as "Degradation versus depth: digits"."""
    names = dict.fromkeys(c.cells[0].runs[0].record.data.name for c in comparisons)
    return f"{listed(list(dict.fromkeys(subjects)))}: {listed(list(names))}"


def data_words(run: Run) -> str:
    """The data set of a run as text: its name, numbers of images, image shape and number of classes."""
    data = run.record.data
    height, width, channels = data.image_shape
    return (
        f"{data.name} ({count(data.train_examples)} training and {count(data.test_examples)} test images of "
        f"{height}\N{MULTIPLICATION SIGN}{width}\N{MULTIPLICATION SIGN}{channels}, {data.num_classes} classes)"
    )
