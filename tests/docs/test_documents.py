"""What the documents take from the records is fresh, and a change of either is noticed."""

import shutil
from pathlib import Path

from experiments import documents

ROOT = Path(__file__).parents[2]


def test_no_picture_is_stale() -> None:
    assert not documents.stale_pictures(ROOT), f"run {documents.RENEW}"


def test_docs_hold_prose_and_the_pictures_that_it_shows() -> None:
    files = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*") if path.is_file() and path.suffix != ".svg"}
    files -= {Path("docs/theme/site.css"), Path("docs/theme/file-worker.js")}  # how the site looks and searches
    pages = {page.relative_to(ROOT) for page in documents.pages(ROOT)} - {Path("README.md")}
    assert files == pages | set(documents.shown(ROOT))


def test_a_changed_record_makes_its_pictures_stale_and_no_others(tmp_path: Path) -> None:
    picture = Path("docs/figures/sources/training-curves.png")
    other = Path("docs/figures/analysis/lesions.png")
    (tmp_path / "README.md").write_text(f"![a]({picture}) ![b]({other})")
    for path in (picture, other):
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy(ROOT / path, tmp_path / path)
    for folder in ("sources", "analysis"):
        shutil.copytree(ROOT / documents.RECORDS / folder, tmp_path / documents.RECORDS / folder)
    assert documents.stale_pictures(tmp_path) == []
    record = next((tmp_path / documents.RECORDS / "sources").glob("*/metrics.jsonl"))
    record.write_text(record.read_text().replace("0", "1", 1))
    assert documents.stale_pictures(tmp_path) == [picture]
