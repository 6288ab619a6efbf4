"""Records survive a round trip; anything else in their place is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.record import differences, read_config, read_metrics, read_record, record_to_json
from tests.reports.factory import write_run


@pytest.fixture
def text(tmp_path: Path) -> str:
    return (write_run(tmp_path, net="resnet", depth=56) / "record.json").read_text()


def test_round_trip(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    record = read_record(tmp_path / "record.json")
    assert record_to_json(record) == text
    assert record.config.model.depth == 56
    assert record.final is not None
    assert record.final.train_examples == 1437


def changed(text: str, name: str, value: Any) -> str:
    values = json.loads(text)
    place = values
    *sections, last = name.split(".")
    for section in sections:
        place = place[section]
    place[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", 99),
        ("config", "none"),
        ("config.model.depth", 57),
        ("config.model", {"depht": 20}),
        ("data", "digits"),
        ("data.image_shape", 8),
        ("final.train_error", "low"),
        ("final.train_error", 1.5),
        ("final.test_error", float("nan")),
        ("final.test_examples", True),
        ("final.test_examples", 359),
        ("final", {}),
        ("final", None),
        ("status", "diverged"),
        ("status", "good"),
        ("cost.total_s", None),
        ("parameters", "many"),
        ("final.validation_error", "low"),
        ("final.train_loss", float("nan")),
        ("diverged_at_step", "never"),
        ("final_fingerprint", 7),
        ("environment.versions", {"jax": 10}),
        ("sessions", [{"step": "0"}]),
    ],
)
def test_a_wrong_record_is_named(tmp_path: Path, text: str, name: str, value: Any) -> None:
    path = tmp_path / "record.json"
    path.write_text(changed(text, name, value))
    with pytest.raises(UserError, match=r"record\.json: "):
        read_record(path)


@pytest.mark.parametrize(
    ("name", "value"), [("schema", 99), ("config.model.of_tomorrow", 1), ("config.model.shortcut", "of tomorrow")]
)
def test_a_record_of_a_later_version_is_sent_to_it_and_never_away(
    tmp_path: Path, text: str, name: str, value: Any
) -> None:
    path = tmp_path / "record.json"
    path.write_text(changed(text, name, value))
    with pytest.raises(UserError, match="read it with the version that wrote it") as raised:
        read_record(path)
    assert "move it away" not in str(raised.value)
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize("cut", [0, 1, 50, -2])
def test_a_record_cut_short_is_named(tmp_path: Path, text: str, cut: int) -> None:
    path = tmp_path / "record.json"
    path.write_text(text[:cut])
    with pytest.raises(UserError, match=r"record\.json: (damaged|holds no JSON)"):
        read_record(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_no_json_object_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json: "):
        read_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: cannot be read \(No such file or directory\)"):
        read_record(tmp_path / "nowhere.json")


LINE = (
    '{"epoch": 1, "step": 12, "learning_rate": 0.1, "running_loss": 1.0, "running_error": 0.5, '
    '"test_loss": null, "test_error": null}\n'
)


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(LINE + LINE[:30])
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_a_damaged_line_inside_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(LINE + LINE[:30] + "\n" + LINE)
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2 is damaged"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_differences_name_field_and_both_values() -> None:
    other = override(ExperimentConfig(), {"model.depth": 56, "model.norm.epsilon": 1e-3})
    assert differences(ExperimentConfig(), other) == [
        "model.depth is 20, not 56",
        "model.norm.epsilon is 1e-05, not 0.001",
    ]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]  # and no half-written neighbour
