"""Renew the tables, numbers and pictures of README.md and docs/ from the committed records.

python -m experiments.documents            # renew tables and numbers, draw all pictures
python -m experiments.documents --check    # only list what is out of date; status 1 if anything is

Run it in the root of a checkout; it takes half a minute. Tables and numbers stand between markers; see
experiments/passages. A picture contains a digest of its records. If the records now have another digest, the picture is
out of date.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from experiments import machine, passages
from experiments.cli import FAILED, OK, run_main
from experiments.options import parse
from resnet_jax.files import short_digest

RENEW = "python -m experiments.documents"
RECORDS = Path("experiments/records")
FIGURES = Path("docs/figures")
# The studies whose report the pictures of a folder are from, if it is not the study with the folder's name.
REPORTS = {
    "digits": ("digits-depth", "digits-depth-long"),
    "cifar10-depth-small": ("cifar10-depth-small", "cifar10-depth-small-budget", "cifar10-depth-small-rates"),
    "cifar10-depth-small-images": ("cifar10-depth-small-images", "cifar10-depth-small-images-control"),
}
ANALYSIS = "analysis"
"""Name of the folder for the instruments' pictures in docs/figures, and for their numbers in the records."""


@dataclass(frozen=True)
class Documents:
    """Renew the tables, numbers and pictures of README.md and docs/ from experiments/records."""

    check: bool = False
    """Change nothing; list what is out of date."""


def main(argv: list[str] | None = None) -> int:
    """Renews the documents, or lists what is out of date; returns the exit status."""
    chosen = parse(Documents, argv, program=RENEW, description=__doc__)
    # A sentence in docs/mistakes.md states the number of devices, which is eight, as in the tests.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    machine.virtual_devices(passages.mistakes.DEVICES)
    if chosen.check:
        stale = [*stale_passages(), *map(str, stale_pictures())]
        print("\n".join(stale) or "everything is up to date.")
        return FAILED if stale else OK
    for page in filter(passages.renew, pages()):
        print(page)
    for file in draw_pictures():
        print(file)
    return OK


def pages(root: Path = Path()) -> list[Path]:
    """Paths of README.md and of the pages in docs/."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def shown(root: Path = Path()) -> list[Path]:
    """Paths of the pictures that the documents show, relative to `root`."""
    links = (link for page in pages(root) for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8")))
    return sorted({FIGURES / link.removeprefix("docs/").removeprefix("figures/") for link in links})


def sources(picture: Path, root: Path = Path()) -> list[Path]:
    """Paths of the record files from which a picture is drawn."""
    folder = picture.parent.name
    if folder == ANALYSIS:
        # A picture has the name of its measurement and an optional suffix, as in gradient-flow-training.
        files = (root / RECORDS / ANALYSIS).glob("*.json")
        return [max((f for f in files if picture.stem.startswith(f.stem)), key=lambda file: len(file.stem))]
    return [
        file for study in REPORTS.get(folder, (folder,)) for file in sorted((root / RECORDS / study).glob("*/*.json*"))
    ]


def stale_pictures(root: Path = Path()) -> list[Path]:
    """Paths of the pictures that are missing, or whose records have changed since they were drawn."""
    found = []
    for picture in shown(root):
        if not (root / picture).exists():
            found.append(picture)
            continue
        with Image.open(root / picture) as image:
            if image.info.get("Records") != _digest(sources(picture, root)):
                found.append(picture)
    return found


def stale_passages(root: Path = Path()) -> list[str]:
    """A sentence for each table and number of the documents that is out of date."""
    return [line for page in pages(root) for line in passages.stale(page.read_text("utf-8"), page.name)]


def draw_pictures(root: Path = Path()) -> Iterator[Path]:
    """Draws the pictures of the documents into docs/figures; yields their paths; deletes other pictures there."""
    # Imported here, because --help should not wait for matplotlib.
    from resnet_jax.reports.figures.draw import draw
    from resnet_jax.reports.report import write_report
    from resnet_jax.reports.runs import read_runs

    wanted = shown(root)
    with tempfile.TemporaryDirectory() as name:
        drawn = Path(name)
        for folder in sorted({picture.parent.name for picture in wanted}):
            if folder == ANALYSIS:
                shutil.copytree(root / RECORDS / ANALYSIS, drawn / ANALYSIS)
                for file in sorted((drawn / ANALYSIS).glob("*.json")):
                    draw(file)
            else:
                studies = [RECORDS / study for study in REPORTS.get(folder, (folder,))]
                command = " ".join(["python -m experiments.report", *map(str, studies)])
                write_report(read_runs([root / study for study in studies]), drawn / folder, command=command)
        for picture in wanted:
            info = PngInfo()
            info.add_text("Records", _digest(sources(picture, root)))
            (root / picture).parent.mkdir(parents=True, exist_ok=True)
            with Image.open(drawn / picture.relative_to(FIGURES)) as image:
                # Study, runs, commit and command, as the report wrote them.
                for key, value in image.info.items():
                    if isinstance(value, str):
                        info.add_text(str(key), value)
                image.save(root / picture, pnginfo=info, optimize=True)
            yield picture
    for picture in sorted((root / FIGURES).glob("*/*")):
        if picture.relative_to(root) not in wanted:
            picture.unlink()


def _digest(files: list[Path]) -> str:
    return short_digest(*(file.parent.name.encode() + file.name.encode() + file.read_bytes() for file in files))


if __name__ == "__main__":
    run_main(main)
