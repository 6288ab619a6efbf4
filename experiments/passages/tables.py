"""Tables of the documents. The name STUDY/RUN, without a seed, means the runs of all seeds."""

from experiments.benchmark.spec import OURS
from experiments.benchmark.table import render
from experiments.derivation.tables import Language, tables as derived
from experiments.passages.numbers import error
from experiments.passages.records import RECORDS, content, records
from resnet_jax.reports.comparison import Comparison
from resnet_jax.reports.control import find_control, gap_table
from resnet_jax.reports.document import Table, markdown_table
from resnet_jax.reports.grouping import comparisons
from resnet_jax.reports.runs import read_runs
from resnet_jax.reports.text import TIMES, count
from resnet_jax.text import plural


def report(*studies: str) -> str:
    """The main table of the report on some studies."""
    from resnet_jax.reports.views import View  # which imports matplotlib

    return _rows(View.of(_compared(studies)).table)


def gaps(*studies: str) -> str:
    """A table of the training error of a deep net minus that of a shallower net, by number of iterations."""
    control = find_control(_compared(studies))
    table = None if control is None else gap_table(control)
    if table is None:
        raise ValueError("no control with several budgets")
    return _rows(table)


def nets(*runs: str) -> str:
    """A table with a row for each net STUDY/RUN: its iterations, learning rate, seeds and errors."""
    rows = []
    for run in runs:
        of_seed = records(run)
        config = of_seed[0].config
        net = f"{'ResNet' if config.model.net == 'resnet' else config.model.net}-{config.model.depth}"
        rate = f"{config.optim.learning_rate:g}" + " with warm-up" * (config.optim.warmup != "none")
        rows.append((net, count(config.train.iterations), rate, count(len(of_seed)), error(run), error(run, "test")))
    headers = ("net", "iterations", "rate", "seeds", "training error, %", "test error, %")
    return markdown_table(Table("", headers, tuple(rows), text_columns=1))


def recomputed_statistics() -> str:
    """A table of errors with running batch statistics, and with batch statistics over the whole training set."""
    rows = []
    for row in content("recomputed")["rows"]:
        values = (row[split][kind] for split in ("train_error", "test_error") for kind in ("running", "recomputed"))
        rows.append((row["run"], *(f"{100 * value:.2f}" for value in values)))
    headers = ("run", "training, running", "recomputed", "test, running", "recomputed")
    return markdown_table(Table("", headers, tuple(rows), text_columns=1))


def equivalence() -> str:
    """A table of the effect of parallel training on parameters, with a column for each number of devices.

    Each number is the largest relative difference from the parameters after training on one device. It is measured
    after ten steps, and is the largest over all parallel modes.
    """
    worst: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in content("equivalence")["rows"]:
        cells = worst.setdefault((row["net"], row["dtype"], row["scope"]), {})
        cells[row["devices"]] = max(cells.get(row["devices"], 0.0), row["drift"][-1])
    devices = sorted({number for cells in worst.values() for number in cells})
    headers = ("net", "dtype", "BN scope", *(plural(n, "device") for n in devices))
    rows = tuple((*key, *(f"{cells[n]:.0e}" for n in devices)) for key, cells in worst.items())
    return markdown_table(Table("", headers, rows, text_columns=3))


def benchmark(name: str) -> str:
    """The tables of the record of a benchmark."""
    return render(RECORDS / f"benchmark-{name}.json").strip("\n")


def before_and_after(folder: str) -> str:
    """A table of steps before and after a change, from the benchmark records SIZE-CORES-{before,after}.json in a
    folder."""
    rows = []
    for after in sorted((RECORDS / folder).glob("*-after.json"), reverse=True):
        case = after.stem.removesuffix("-after")
        both = [content(f"{folder}/{case}-{when}") for when in ("before", "after")]
        ours = [next(row for row in record["results"] if row["contestant"] == OURS) for record in both]
        pixels, cores = ours[1]["images"], both[1]["environment"]["cpu_cores"]
        ms, ratios = [f"{1e3 * row['median']:.1f}" for row in ours], [f"{row['ratio']:.2f}" for row in ours]
        rows.append((pixels, str(cores), *ms, *ratios))
    headers = ("images", "cores", "ms before", "ms after", f"{TIMES} PyTorch before", f"{TIMES} PyTorch after")
    return _rows(Table("", headers, tuple(rows)))


def derivation(number: str, language: Language) -> str:
    """One table of docs/derivation.md; `number` counts from 1."""
    return derived(RECORDS / "gradients-at-start.json", language)[int(number) - 1].strip("\n")


def _compared(studies: tuple[str, ...]) -> Comparison:
    runs = read_runs([RECORDS / study for study in studies])
    return comparisons(runs.complete, runs.order)[0]


def _rows(table: Table) -> str:  # without the caption: the page has its own
    return "\n".join(line for line in markdown_table(table).splitlines() if line.startswith("|"))
