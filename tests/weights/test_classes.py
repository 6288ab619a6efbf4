"""Which class of a net a folder's name stands for."""

import re
import unicodedata
from pathlib import Path

import pytest

from resnet_jax.errors import UserError
from resnet_jax.weights.classes import CIFAR10_CLASSES, Unmatched, imagenet, match, usual_classes

TWELVE = tuple(f"kind {letter}" for letter in "abcdefghijkl")


def test_imagenet_has_a_thousand_classes_in_the_order_of_their_ids() -> None:
    ids, names = imagenet()
    assert len(ids) == len(set(ids)) == len(names) == len(set(names)) == 1000
    assert list(ids) == sorted(ids)
    assert all(re.fullmatch(r"n\d{8}", one) for one in ids)
    # Pairs that are known from the papers and from torchvision's documentation.
    pairs = {0: ("n01440764", "tench"), 207: ("n02099601", "golden retriever"), 281: ("n02123045", "tabby")}
    pairs |= {285: ("n02124075", "Egyptian cat"), 404: ("n02690373", "airliner"), 999: ("n15075141", "toilet tissue")}
    assert {number: (ids[number], names[number]) for number in pairs} == pairs


def test_a_name_comes_first_whatever_the_order() -> None:
    found = match(["truck", "airplane"], CIFAR10_CLASSES, "test", "net")
    assert (found.numbers, found.rule) == ((9, 0), "name")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_names_are_compared_in_composed_unicode(form: str, other: str) -> None:
    names = ("caf\u00e9", "na\u00efve", "\u732b")
    folders = [unicodedata.normalize(form, name) for name in reversed(names)]  # type: ignore[arg-type]
    classes = [unicodedata.normalize(other, name) for name in names]  # type: ignore[arg-type]
    assert match(folders, classes, "test", "net").numbers == (2, 1, 0)


def test_numbers_are_numbers_and_not_text() -> None:
    """In the order of text "10" and "11" come before "2"."""
    folders = sorted(map(str, range(12)))
    found = match(folders, TWELVE, "test", "net")
    assert (found.numbers, found.rule) == ((0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9), "number")
    assert match(["007", "3"], TWELVE, "test", "net").numbers == (7, 3)


def test_a_thousand_numbers() -> None:
    folders = sorted(map(str, range(1000)))
    assert match(folders, imagenet()[1], "val", "net").numbers == tuple(map(int, folders))


def test_wordnet_ids_of_some_classes() -> None:
    found = match(["n02123045", "n01440764"], imagenet()[1], "val", "net")
    assert (found.numbers, found.rule) == ((281, 0), "WordNet ID")
    # As Hugging Face's config.json names them, with all synonyms.
    synonyms = [f"{name}, {name} of some kind" for name in imagenet()[1]]
    assert match(["n02123045"], synonyms, "val", "net").numbers == (281,)
    # A net of a thousand other classes has no such IDs.
    with pytest.raises(Unmatched, match="n02123045 is not a class of net"):
        match(["n02123045"], [f"kind {i}" for i in range(1000)], "val", "net")


@pytest.mark.parametrize(
    ("folders", "first"),
    [
        (["cat", "wolf"], "wolf"),
        (["12", "3"], "12"),  # a number too many
        (["1", "01"], "1"),  # one class twice
        (["\u0661", "2"], "\u0661"),  # a digit, but not of ours
        (list("abcdefghijkl"), "a"),  # as many as classes: the order says nothing
    ],
)
def test_what_fits_no_rule_is_not_guessed(folders: list[str], first: str) -> None:
    classes = ("cat", *TWELVE[1:])
    with pytest.raises(Unmatched, match=rf"test: {first} is not a class of net .*--labels FILE") as caught:
        match(folders, classes, "test", "net")
    assert (caught.value.names, caught.value.classes) == (tuple(folders), classes)


def test_a_name_that_two_classes_have_is_not_guessed() -> None:
    with pytest.raises(Unmatched, match="crane"):
        match(["crane", "dog"], ("crane", "dog", "crane"), "test", "net")


def test_the_option_maps_them(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffKatze = cat\nHund=1\n\nWelpe = dog\n", encoding="utf-8")
    found = match(["Hund", "Katze", "Welpe"], ("cat", "dog"), "test", "net", str(file))
    assert (found.numbers, found.rule) == ((1, 0, 1), "file")
    assert match(["x", "y"], ("cat", "dog"), "test", "net", "order").numbers == (0, 1)
    with pytest.raises(Unmatched, match=r"got 'order' .*legal: .*2 classes"):
        match(["x"], ("cat", "dog"), "test", "net", "order")
    with pytest.raises(UserError, match="has no line for Maus"):
        match(["Maus"], ("cat", "dog"), "test", "net", str(file))
    for content, sentence in (
        (b"Maus = wolf", "wolf is not a class of net"),
        (b"Maus", "has the line 'Maus'; legal: 'folder = class'"),
        (b"\xff\xfe\x00", "is not text"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            match(["Maus"], ("cat", "dog"), "test", "net", str(file))


def test_usual_classes_without_a_last_layer() -> None:
    from resnet_jax.config import ModelConfig

    assert usual_classes(ModelConfig()) == ()
    assert usual_classes(ModelConfig(num_classes=3)) == ("0", "1", "2")
