"""Tables and numbers from measurements inside nets, in the files of experiments/records/analysis.

Each file is the result of an instrument (resnet_jax/analysis), such as lesions.json. The functions take the name of
a file without its suffix, and the names of nets in this file.
"""

import re
from typing import Any

import numpy as np

from experiments.passages.records import content
from resnet_jax.reports.document import Table, markdown_table
from resnet_jax.reports.text import MINUS
from resnet_jax.types import Floats


def measured(file: str, net: str, what: str, form: str = ".3g") -> str:
    """Formats a number from the measurement of one net.

    Args:
      file: name of the file, without its suffix.
      net: name of the net in the file.
      what: words with dots between them. The first word is the name of a list in the file. It can also be two names
        with "/" between them: each value of the first list is divided by the value at the same position of the
        second list. Every other word is an index, a slice, min, max or mean, and is applied to the result so far.
        For example, "single.1:.max" is the largest value of the list `single`, without its first value.
      form: a format of Python. A form such as ".1%" gives per cent; the text does not contain the sign "%".
    """
    return _text(value(file, net, what), form)


def gradients(file: str) -> str:
    """A table of gradient norms at the initial values: in the first layer, in the last conv, and their ratio."""
    rows = []
    for name, net in _nets(file).items():
        norms = net["initial"][:-1]  # without the classifier
        ratio = norms[0] / norms[-1]
        growth = ratio ** (1.0 / (len(norms) - 1))
        rows.append((_name(name), *(_text(v) for v in (norms[0], norms[-1], ratio)), f"{growth:.2f}"))
    return markdown_table(Table("", ("net", "first layer", "last conv", "ratio", "mean factor a layer"), tuple(rows)))


def responses(file: str) -> str:
    """A table of the mean and the largest layer response of each net."""
    rows = tuple(
        (_name(name), *(f"{f(net['std']):.2f}" for f in (np.mean, np.max))) for name, net in _nets(file).items()
    )
    return markdown_table(Table("", ("net", "mean response", "largest"), rows))


def mean_responses(file: str) -> str:
    """A table of the mean layer response of each net, for each seed and over all seeds."""
    by_net: dict[str, list[float]] = {}
    for name, net in _nets(file).items():
        by_net.setdefault(name.rpartition("-seed")[0], []).append(float(np.mean(net["std"])))
    rows = [
        (_name(name), ", ".join(f"{mean:.3f}" for mean in means), f"{np.mean(means):.3f}")
        for name, means in by_net.items()
    ]
    return markdown_table(Table("", ("net", "mean response over the layers, each seed", "mean"), tuple(rows)))


def signals(file: str, *nets: str) -> str:
    """A table of signal propagation after the last block, with a column for each net."""
    measures = {
        "forward variance": "variance.-1",
        "largest singular value": "largest.0.-1",
        "smallest singular value": "smallest.0.-1",
        "condition number": "largest/smallest.0.-1",
        "autocorrelation at lag 1": "autocorrelation.-1.1",
    }
    rows = tuple((label, *(measured(file, net, what) for net in nets)) for label, what in measures.items())
    return markdown_table(Table("", ("after the last block", *map(_name, nets)), rows))


def mean_lengths(file: str) -> str:
    """A table about the paths through nets, with a column for each net.

    The rows are the number of blocks, the mean length of all paths, and a weighted mean length. The weight of a path is
    the mean gradient norm along random paths of the same length.
    """
    nets = _nets(file)
    paths = [np.asarray(net["paths"], float) for net in nets.values()]
    carried = [p * np.asarray(net["norms"]).mean(1) for p, net in zip(paths, nets.values(), strict=True)]

    def means(weights: list[Floats]) -> list[str]:
        return [f"{np.average(np.arange(len(each)), weights=each):.1f}" for each in weights]

    rows = (
        ("blocks", *(str(len(each) - 1) for each in paths)),
        ("mean length of all paths", *means(paths)),
        ("mean length, weighted by the gradient carried", *means(carried)),
    )
    return markdown_table(Table("", ("trained on digits, 240 iterations", *map(_name, nets)), rows))


def value(file: str, net: str, what: str) -> float:
    """The number that `measured` formats."""
    name, *steps = what.split(".")
    found: Any = None
    for part in name.split("/"):
        numbers = np.asarray(_nets(file)[net][part], float)
        found = numbers if found is None else found / numbers
    for step in steps:
        if step in ("min", "max", "mean"):
            found = getattr(np, f"nan{step}")(found)
        elif ":" in step:
            found = found[slice(*(int(end) if end else None for end in step.split(":")))]
        else:
            found = found[int(step)]
    return float(found)


def _nets(file: str) -> dict[str, dict[str, Any]]:
    return {net["name"]: net for net in content(f"analysis/{file}")["nets"]}


def _name(net: str) -> str:
    return re.sub("^resnet-", "ResNet-", net)


def _text(number: float, form: str = ".3g") -> str:  # "1.3e+03" becomes "1.3e3"
    text = re.sub(r"e([+-])0*", lambda found: "e" + found[1].strip("+"), f"{number:{form}}")
    return text.rstrip("%").replace("e-", f"e{MINUS}").replace("-", MINUS)
