"""In place of TFDS's builder and of the network: nothing here needs TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import tensorflow_datasets
from tensorflow_datasets.core.download import checksums

from experiments import prepare
from resnet_jax.errors import UserError
from tests.data.prepared import labelled

ROOT = Path(__file__).parents[3]

PATIENCE = 600.0

URL = "https://data.invalid/files/pictures.tar.gz"


def asked_for(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> list[str]:
    """The URLs that are asked for; `answer` stands in for the network."""
    urls: list[str] = []

    def head(url: str, *, timeout: float) -> Any:
        assert timeout <= PATIENCE
        urls.append(url)
        return answer(url)

    monkeypatch.setattr(requests, "head", head)
    return urls


def nobody(url: str) -> None:
    raise requests.ConnectionError(f"{url}: no route")


class Builder(SimpleNamespace):
    """As much of a TFDS builder as preparing needs, in place of one that would need TensorFlow."""

    def __init__(self, data_dir: Path, work: Callable[[], Any] = lambda: None, **changes: Any) -> None:
        super().__init__(
            name="cifar10",
            data_dir=str(data_dir / "cifar10" / "3.0.2"),
            info=SimpleNamespace(
                features=tensorflow_datasets.features.FeaturesDict(labelled()), download_size=10, dataset_size=20
            ),
            url_infos={URL: checksums.UrlInfo(size=10, checksum="0" * 64, filename="pictures.tar.gz")},
            MANUAL_DOWNLOAD_INSTRUCTIONS=None,
            download_and_prepare=work,
        )
        vars(self).update(changes)


def refused(data_dir: Path, name: str = "cifar10") -> str:
    with pytest.raises(UserError) as caught:
        prepare.main([name, "--data-dir", str(data_dir)])
    assert "\n" not in str(caught.value)
    return str(caught.value)
