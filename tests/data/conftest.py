import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.folders import put


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "resnet_jax"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three training images and one test image each."""
    for name in ("cat", "dog"):
        for i in range(3):
            put(tmp_path / "pets", f"train/{name}/{i}.png")
        put(tmp_path / "pets", f"test/{name}/0.png")
    return tmp_path / "pets"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    calls: list[str] = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        calls.append(repr(args))
        raise OSError("no network in this test")

    for owner, attribute in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, attribute, refuse)
    yield
    assert calls == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A prepared cifar10 of 7 + 4 images, 8x8x3."""
    from tests.data.prepared import examples, random_images, write

    return write(tmp_path, {"train": examples(random_images(7)), "test": examples(random_images(4, seed=1))})
