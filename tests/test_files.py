"""A file is written whole or not at all; a digest is that of the sha256sum command."""

import hashlib
from pathlib import Path

import pytest

from resnet_jax.files import replacing, short_digest, write_atomically


def test_a_file_is_as_it_was_until_its_successor_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.write_text("old")
    with replacing(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
        assert (part.parent, part.suffix) == (file.parent, file.suffix)
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail() -> None:
        with replacing(file) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(missing, "text")
    assert error.value.filename == str(missing)


def test_text_is_utf8_and_bytes_are_themselves(tmp_path: Path) -> None:
    write_atomically(tmp_path / "text", "±\n")
    assert (tmp_path / "text").read_bytes() == b"\xc2\xb1\n"
    write_atomically(tmp_path / "bytes", b"\xff\x00")
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"


def test_a_digest_is_of_the_parts_joined() -> None:
    assert short_digest(b"ab", b"c") == hashlib.sha256(b"abc").hexdigest()[:16] == "ba7816bf8f01cfea"
