"""The commands that convert nets and look at pictures, as a stranger uses them, who also has files that are neither."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments import classify, cli, convert, evaluate
from resnet_jax.errors import UserError
from resnet_jax.training.run import run
from resnet_jax.weights import files
from resnet_jax.weights.classes import CIFAR10_CLASSES
from resnet_jax.weights.formats import akamaster
from tests.experiments.test_cli import in_a_process
from tests.training.test_loop import SMALL
from tests.weights.factory import CIFAR, random_arrays
from tests.weights.torch_files import calling, saved


@pytest.fixture(scope="module")
def state() -> bytes:
    return saved(akamaster.FORMAT.to_pytorch(random_arrays(CIFAR)), legacy=True, under="state_dict")


@pytest.fixture
def place(state: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, but for a state dict."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.machine.use_compilation_cache", lambda runs: None)
    Path("net.th").write_bytes(state)
    return tmp_path


def huge(path: Path, side: int) -> None:
    """A PNG whose header says `side` pixels a side; it is never decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


@pytest.fixture
def pictures(place: Path) -> Path:
    folder = place / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    colours.save(folder / "a.jpg")
    colours.convert("L").save(folder / "b-grey.png")
    colours.convert("CMYK").save(folder / "c-cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save(folder / "d-rotated.jpg", exif=exif)
    Image.new("RGB", (1, 1), (200, 10, 10)).save(folder / "e-pixel.png")
    (folder / "f-text.jpg").write_text("Dear diary,")
    huge(folder / "g-huge.png", 20_000)
    (folder / "h-cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-500])
    (folder / "notes.txt").write_text("not an image by its name")
    return folder


def test_every_picture_that_can_be_read_is_and_the_others_get_a_sentence(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify.main(["--weights", "net.th", "--json", "pictures", "missing.png"]) == cli.BAD_INPUT
    printed = capsys.readouterr()
    answers = json.loads(printed.out)
    assert [Path(answer["image"]).name[0] for answer in answers] == [*"abcdefgh", "m"]
    for answer in answers[:5]:
        assert len(answer["top"]) == 5
        probabilities = [found["probability"] for found in answer["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0.0 < sum(probabilities) <= 1.0 + 1e-6
        assert {found["class"] for found in answer["top"]} <= {
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
        } | {
            "frog",
            "horse",
            "ship",
            "truck",
        }
    reasons = [answer["error"] for answer in answers[5:]]
    assert reasons[0].startswith("it is not an image in one of the formats JPEG, PNG")
    assert reasons[1].startswith("it has more than the ")
    assert "pixels that are safe to decode" in reasons[1]
    assert "truncated" in reasons[2]
    assert reasons[3] == "No such file or directory"
    first, *lines = printed.err.splitlines()
    assert first.startswith("passed over in pictures: 1 ")
    assert "notes.txt" in first
    assert lines == [
        f"error: {answer['image']} cannot be read as an image: {answer['error']}." for answer in answers[5:]
    ]


def test_the_table_and_features(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--weights", "net.th", "pictures/a.jpg", "pictures/e-pixel.png", "--features", "stage3_block1"]
    assert classify.main(words) == cli.OK
    printed = capsys.readouterr()
    assert "net.th" in printed.out
    assert printed.out.count("pictures/a.jpg") == 1
    assert "features.npz: stage3_block1 [2, 8, 8, 16] float32, paths [2]" in printed.err
    with np.load("features.npz", allow_pickle=False) as kept:
        assert kept["stage3_block1"].shape == (2, 8, 8, 16)
        assert kept["paths"].tolist() == ["pictures/a.jpg", "pictures/e-pixel.png"]


def test_a_converted_net_answers_the_same_and_a_run_s_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save("a.png")
    Path("names.txt").write_text("\n".join(f"kind {i}" for i in range(10)) + "\n")
    assert convert.main(["net.th", "net", "--class-names", "names.txt"]) == cli.OK
    assert "net.th: resnet-8 (cifar, basic blocks, width 4, 10 classes), 5,126 numbers" in capsys.readouterr().out
    probabilities = []
    for weights in ("net.th", "net", "net/model.safetensors"):
        assert classify.main(["--weights", weights, "--json", "a.png"]) == cli.OK
        (answer,) = json.loads(capsys.readouterr().out)
        probabilities.append([found["probability"] for found in answer["top"]])
    assert answer["top"][0]["class"].startswith("kind ")
    assert probabilities[0] == probabilities[1] == probabilities[2]
    run(SMALL, Path("run"), study="test")
    assert classify.main(["--weights", "run", "--json", "a.png"]) == cli.OK
    (answer,) = json.loads(capsys.readouterr().out)
    assert {found["class"] for found in answer["top"]} <= set("0123456789")
    # A run of an earlier version has no weights/, but its checkpoint.
    kept = files.load(Path("run"))
    for file in sorted(Path("run/weights").iterdir()):
        file.unlink()
    Path("run/weights").rmdir()
    assert convert.main(["run", "from-checkpoint"]) == cli.OK
    again = files.load(Path("from-checkpoint"))
    assert {name: array.tobytes() for name, array in again.arrays.items()} == {
        name: array.tobytes() for name, array in kept.arrays.items()
    }
    assert again.preprocessing.to_json() == kept.preprocessing.to_json()


def test_the_errors_of_a_folder_of_classes(pictures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in CIFAR10_CLASSES:
        folder = tmp_path / "test" / name
        folder.mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
    assert evaluate.main(["--weights", "net.th", "--out", "errors.json", "test"]) == cli.OK
    result = json.loads(Path("errors.json").read_text())
    capsys.readouterr()
    # By the other command, one picture's first and five best classes at a time.
    classify.main(["--weights", "net.th", "--json", "test"])
    answers = json.loads(capsys.readouterr().out)
    right = [Path(answer["image"]).parent.name for answer in answers]
    tops = [[found["class"] for found in answer["top"]] for answer in answers]
    assert result["images"] == 30
    assert result["error"] == sum(top[0] != name for top, name in zip(tops, right, strict=True)) / 30
    assert result["top5_error"] == sum(name not in top for top, name in zip(tops, right, strict=True)) / 30
    (tmp_path / "test" / "cat" / "bad.png").write_text("no picture")
    assert evaluate.main(["--weights", "net.th", "test"]) == cli.BAD_INPUT
    assert "30 images" in capsys.readouterr().out
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "wolf")
    with pytest.raises(
        UserError, match=r"test: wolf is not a class of net\.th \(airplane, automobile, bird and 7 more"
    ):
        evaluate.main(["--weights", "net.th", "test"])
    printed = capsys.readouterr().err
    assert [word in printed for word in ("airplane", "truck", "wolf", "class of the net", "folder")] == [True] * 5
    with pytest.raises(UserError, match=r"pictures has no class folders; needed: <class>/<image>"):
        evaluate.main(["--weights", "net.th", "pictures"])


def test_options_of_a_state_dict(place: Path) -> None:
    words = ["--resize", "40", "--crop", "36", "--mean", "0.1", "0.2", "0.3", "--std", "1", "2", "3"]
    assert convert.main(["net.th", "net", *words]) == cli.OK
    found = files.load(Path("net")).preprocessing.to_json()
    expected = {"resize": 40, "interpolation": "bilinear", "height": 36, "width": 36, "channels": 3}
    expected |= {"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}
    assert found == expected


def bad_files(place: Path, state: bytes) -> None:
    Path("evil.pth").write_bytes(calling("posix", "system", f"touch {place / 'ran'}", legacy=False))
    Path("cut.th").write_bytes(state[: len(state) // 2])
    Path("nine.txt").write_text("\n".join("abcdefghi"))
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")


MISTAKES: list[tuple[Any, list[str], str]] = [
    (convert, ["evil.pth", "out"], r"evil\.pth: a pickle that asks for posix\.system, .* no code was run"),
    (convert, ["cut.th", "out"], r"cut\.th: damaged or truncated"),
    (convert, ["net.th", "out", "--class-names", "nine.txt"], "class_names: got 9 names; legal: 10"),
    (convert, ["net.th", "out", "--class-names", "bytes.txt"], r"bytes\.txt is not text"),
    (convert, ["net.th", "out", "--mean", "0.5"], "mean: got 1 number; legal: 3"),
    (convert, ["net.th", "out", "--crop", "40", "--resize", "32"], r"preprocessing\.resize: got 32"),
    (convert, ["nowhere", "out"], "nowhere: there is no such file or folder"),
    (classify, ["--weights", "evil.pth", "a.png"], r"asks for posix\.system"),
    (classify, ["--weights", "net.th"], "images: none given"),
    (classify, ["--weights", "net.th", "empty"], "empty: a folder without images"),
    (
        classify,
        ["--weights", "net.th", "a.png", "--features", "stage9_block1"],
        "features: got 'stage9_block1'; did you",
    ),
    (classify, ["--weights", "net.th", "a.png", "--features", "stage1_block1", "--out", "x.txt"], r"ends in \.npz"),
]


@pytest.mark.parametrize(
    ("module", "words", "sentence"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_mistake_gets_a_sentence(module: Any, words: list[str], sentence: str, place: Path, state: bytes) -> None:
    bad_files(place, state)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=sentence) as caught:
        module.main(words)
    assert "\n" not in str(caught.value)
    assert not (place / "ran").exists()
    assert not (place / "out").exists()


def test_the_arrays_of_another_depth_are_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert.main(["net.th", "net"])
    values = json.loads(Path("net/config.json").read_text())
    values["model"]["depth"] = 14
    Path("net/config.json").write_text(json.dumps(values))
    capsys.readouterr()
    with pytest.raises(UserError, match="30 missing"):
        convert.main(["net", "other"])
    listed = capsys.readouterr().err.splitlines()
    assert len(listed) == 30
    assert "missing: stage3_block2/conv2/kernel" in listed


def test_status_2_and_no_traceback_on_the_command_line(place: Path, state: bytes) -> None:
    bad_files(place, state)
    for words in (("convert", "evil.pth", "out"), ("classify", "--weights", "evil.pth", "a.png")):
        done = in_a_process(f"experiments.{words[0]}", *words[1:], cwd=place)
        assert done.returncode == cli.BAD_INPUT
        assert done.stderr.startswith("error: evil.pth: a pickle that asks for posix.system")
        assert "Traceback" not in done.stderr
    assert not (place / "ran").exists()


def test_top_says_how_many_classes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32), (200, 10, 10)).save("a.png")
    for top, count in ((1, 1), (3, 3), (20, 10)):
        assert classify.main(["--weights", "net.th", "--json", "--top", str(top), "a.png"]) == cli.OK
        (answer,) = json.loads(capsys.readouterr().out)
        assert len(answer["top"]) == count
    with pytest.raises(UserError, match="top: got 0; legal: a whole number above 0"):
        classify.main(["--weights", "net.th", "--top", "0", "a.png"])


def test_what_notebooks_and_archives_leave_behind_does_not_count(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two pictures of one class, of which the net finds one: 50 %, whatever copies lie beside them."""
    rng = np.random.default_rng(0)
    pictures = [Image.new("RGB", (32, 32), tuple(rng.integers(0, 256, 3).tolist())) for _ in range(40)]
    Path("all").mkdir()
    for i, picture in enumerate(pictures):
        picture.save(f"all/{i:02}.png")
    classify.main(["--weights", "net.th", "--json", "--top", "1", "all"])
    found = [answer["top"][0]["class"] for answer in json.loads(capsys.readouterr().out)]
    right, other = found[0], next(i for i, name in enumerate(found) if name != found[0])
    folder = Path("test") / right
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name, i in (("a", 0), ("b", other)):
        pictures[i].save(folder / f"{name}.png")
    for i in range(3):
        pictures[other].save(folder / ".ipynb_checkpoints" / f"{i}-checkpoint.png")
    (folder / "._a.png").write_bytes(b"Mac OS X")
    assert evaluate.main(["--weights", "net.th", "--out", "new/folder/e.json", "test"]) == cli.OK
    printed = capsys.readouterr()
    assert "on 2 images of test: error 50.00%" in printed.out
    assert "passed over in test: 2 hidden" in printed.err
    assert json.loads(Path("new/folder/e.json").read_text())["labels"] == "name"
    (folder / "gone.png").symlink_to("nowhere.png")
    assert evaluate.main(["--weights", "net.th", "test"]) == cli.BAD_INPUT
    assert "gone.png cannot be read as an image" in capsys.readouterr().err


def test_a_class_list_with_a_byte_order_mark(place: Path) -> None:
    Path("names.txt").write_bytes(b"\xef\xbb\xbf" + "\n".join(f"kind {i}" for i in range(10)).encode())
    assert convert.main(["net.th", "net", "--class-names", "names.txt"]) == cli.OK
    assert files.load(Path("net")).class_names[0] == "kind 0"
