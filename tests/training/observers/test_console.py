"""What a run shows: everything at 80 columns, and plain lines where there is no terminal."""

import io
import re

import pytest
from rich.console import Console

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig
from resnet_jax.record import MetricsLine
from resnet_jax.training.metrics import Totals
from resnet_jax.training.observers.base import Step
from resnet_jax.training.observers.console import Lines, Live
from resnet_jax.training.program import prepare

TINY = ExperimentConfig(model=ModelConfig(depth=8, width=2), data=DataConfig(source="digits"))
LINE = MetricsLine(9, 103, 0.1, 0.25, 0.125, 0.5, 0.0625)


def test_a_terminal_of_80_columns_shows_all() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    live = Live(console, 64_000, "plain-56-learning_rate=0.02-seed1")
    live.epoch(LINE, 1234.0)
    live.step(Step(281, rate=0.1, batch=Totals(230.3, 90, 100), images_per_second=12_345.0, waited=0.25))
    for renderable in live._progress.get_renderables():
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in (
        "plain-56-learning_rate=0.02-seed1",
        "281/64000",
        "left",
        "loss 2.303",
        "90.0%",
        "12,345 images/s",
        "waiting 25%",
    ):
        assert part in text
    assert "waiting 25%  test 6.2%" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    live.step(Step(282, rate=0.1, batch=Totals(230.3, 90, 100), images_per_second=12_345.0))
    assert "waiting" not in live._progress.tasks[0].fields["numbers"]


def test_lines_say_where_a_run_is() -> None:
    console = Console(width=80, file=io.StringIO())
    Lines(console, 240, seconds=0.0).epoch(LINE, 1234.0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == (
        "step 103/240, epoch 9, rate 0.1, loss 0.2500, error 12.50%, test error 6.25%, 1,234 images/s\n"
    )


def test_lines_say_how_long_a_run_waits_for_its_images() -> None:
    console = Console(width=80, file=io.StringIO())
    lines = Lines(console, 240, seconds=0.0)
    lines.step(Step(103, rate=0.1, batch=Totals(1.0, 1, 2), images_per_second=1.0, waited=0.31))
    lines.epoch(LINE, 1234.0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().endswith(", 1,234 images/s, 31% of the time waiting for images\n")


@pytest.mark.parametrize("width", [20, 30, 40, 64])
def test_a_narrow_terminal_loses_no_digit(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    live = Live(console, 64_000, "plain-56")
    live.epoch(LINE, 1234.0)
    live.step(Step(281, rate=0.1, batch=Totals(230.3, 90, 100), images_per_second=12_345.0, waited=0.25))
    _, _, *numbers = live._progress.get_renderables()
    for line in numbers:
        console.print(line)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert " ".join(text.split()) == "rate 0.1 loss 2.303 error 90.0% 12,345 images/s waiting 25% test 6.2%"
    assert all(len(line) <= width for line in text.splitlines())


def test_the_words_before_the_first_step_are_those_of_the_phases() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    live = Live(console, 240, "resnet-8")
    seen: list[str] = []

    def phase(name: str) -> None:
        live.phase(name)
        seen.append(live._progress.tasks[0].fields["numbers"])

    prepare(TINY, phase=phase)
    assert seen == ["loading the data ...", "placing the images ...", "compiling ..."]


@pytest.mark.parametrize(("before", "after"), [(80, 80), (80, 60), (80, 33), (50, 20), (30, 90)])
def test_a_narrower_terminal_keeps_no_rows_of_what_was_drawn_before(before: int, after: int) -> None:
    """A terminal breaks lines that became too long; from the last of those rows up to the first, all are erased."""
    console = Console(width=before, file=io.StringIO(), force_terminal=True, force_interactive=True, color_system=None)
    assert isinstance(console.file, io.StringIO)
    live = Live(console, 64_000, "plain-56-learning_rate=0.02-seed1")
    live.step(Step(281, rate=0.1, batch=Totals(230.3, 90, 100), images_per_second=12_345.0, waited=0.25))
    live._progress.live.auto_refresh = False
    live.start()
    try:
        console.file.truncate(0)
        live._progress.refresh()
        drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\0", "", console.file.getvalue()).split("\n")
        rows = sum(max(1, -(-len(line) // after)) for line in drawn)
        console.file.truncate(0)
        console.width = after
        live._progress.refresh()
        assert console.file.getvalue().count("\x1b[1A\x1b[2K") == rows - 1
        console.file.truncate(0)
    finally:
        live.close()
