"""Download a data set of TensorFlow Datasets and prepare it as array_record, which can be read without TensorFlow.

python -m experiments.prepare cifar10

This needs TensorFlow, which is large: pip install -e '.[prepare]', perhaps in another virtual environment. If TFDS has
already prepared the data set as tfrecord, array_record files are written into the same folder, without TensorFlow and
without a network. To train on the data set:

python -m experiments.train EXPERIMENT --data.source=tfds --data.name=cifar10
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import queue
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import tyro

from experiments import cli, tfrecord
from experiments.options import parse
from resnet_jax.errors import UserError
from resnet_jax.text import reason

if TYPE_CHECKING:
    from resnet_jax.data.tfds_files import Name

NEEDED = ("tensorflow", "importlib_resources")
PROBE_SECONDS = 5.0
URLS_TOLD = 3


@dataclass(frozen=True)
class Prepare:
    """Prepare a data set of TensorFlow Datasets (TFDS)."""

    name: Annotated[str, tyro.conf.Positional]
    """TFDS's name of the data set: cifar10, cifar100, fashion_mnist, mnist, svhn_cropped, name/config, ..."""
    data_dir: str | None = None
    """Folder of prepared data sets; None: $TFDS_DATA_DIR or ~/tensorflow_datasets."""


def main(argv: list[str] | None = None) -> int:
    """Prepares a data set and prints where it is; returns the exit status.

    Raises:
      UserError: one of these problems:
        - TFDS does not know the data set;
        - the data set has no images or no classes;
        - TensorFlow, the network or disk space is missing;
        - the download failed;
        - the data set is already prepared, but damaged.
      KeyboardInterrupt: the command got Ctrl-C or SIGTERM; partial files were deleted.
    """
    chosen = parse(Prepare, argv, program="python -m experiments.prepare", description=__doc__)
    # Set before TensorFlow is imported, so that it prints no log and uses no GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    from resnet_jax.data import import_source

    import_source("tfds")  # raises UserError if TFDS is not installed
    from resnet_jax.data import tfds_files  # imported here, because it takes a second

    name, data_dir = tfds_files.Name.parse(chosen.name), chosen.data_dir
    directory = tfds_files.find(name, data_dir)
    if directory is not None:
        prepared = tfds_files.open_metadata(directory, name, data_dir)
        if tfds_files.has_array_record(prepared) or not tfds_files.is_tfrecord(prepared):
            tfds_files.open_prepared(directory, name, data_dir)
            print(f"{name}: already prepared in {directory}")
            return cli.OK
        with _interruptible():
            tfrecord.convert(prepared, name, data_dir)
    else:
        tfds_files.require_known(name)
        _require_place(tfds_files.root(data_dir) / name.dataset)
        _require_modules()
        directory = download_and_prepare(name, data_dir)
    tfds_files.open_prepared(directory, name, data_dir)
    options = f"--data.source=tfds --data.name={shlex.quote(str(name))}"
    if data_dir:
        options += f" --data.path={shlex.quote(data_dir)}"
    print(f"{name}: prepared in {directory}; train on it with {options}")
    return cli.OK


def download_and_prepare(name: Name, data_dir: str | None) -> Path:
    """Lets TFDS download and prepare a data set as array_record; returns its directory.

    TFDS works in a directory called incomplete.*, which it deletes when interrupted and renames when done.

    Raises:
      UserError: TFDS cannot prepare the data set, or the download failed.
    """
    import requests
    import tensorflow_datasets
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    from resnet_jax.data import tfds_files

    place = tfds_files.root(data_dir)
    try:
        builder = tensorflow_datasets.builder(str(name), data_dir=place, file_format="array_record")
    except (AssertionError, ImportError) as error:  # an unsupported version, or a missing library
        raise UserError(f"{name}: TFDS cannot prepare this data set here: {_line(error)}.") from error
    tfds_files.features(name, builder.info)
    downloads = place / "downloads"
    by_hand = downloads / "manual"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not by_hand.is_dir():
        instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split()).rstrip(".")
        raise UserError(f"{name}: its files must be downloaded by hand into {by_hand}. TFDS says: {instructions}.")
    _require_space(name, builder.info, place)
    _require_network(name, missing_urls(builder, downloads), by_hand)
    _require_tensorflow()
    with _interruptible(), _no_partial_downloads(downloads):
        try:
            builder.download_and_prepare()
        except (DownloadError, NonMatchingChecksumError, requests.RequestException, ImportError) as error:
            raise UserError(f"{name}: its preparation by TFDS failed: {_line(error)}.") from error
    return Path(builder.data_dir)


# --- checks beforehand --------------------------------------------------------------------------------------------


def _existing(place: Path) -> Path:
    """The path itself if it exists, or else its nearest parent that exists."""
    return next(part for part in (place.absolute(), *place.absolute().parents) if part.exists())


def _require_place(folder: Path) -> None:
    """Checks that `folder` exists or can be made."""
    cli.check_folder(folder, "data-dir")
    existing = _existing(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"data-dir: {existing} is not writable, so {folder} cannot be made; give another folder.")


def _require_modules() -> None:
    from resnet_jax.data.tfds_files import INSTALL

    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"preparing needs packages that are not installed: {' and '.join(missing)}; run {INSTALL}")


def _require_tensorflow() -> None:
    """Checks that TensorFlow can be imported. This takes seconds, so it comes after the other checks."""
    from resnet_jax.data.tfds_files import INSTALL

    try:
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise UserError(f"TensorFlow is installed but fails: {_line(error)}; try {INSTALL}") from error


def _require_space(name: Name, info: Any, place: Path) -> None:
    """Checks that there is enough disk space. TFDS says 0 bytes if it does not know the size of a data set."""
    from resnet_jax.data.memory import gigabytes

    needed = int(info.download_size) + int(info.dataset_size)
    existing = _existing(place)
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(f"{name}: needs {gigabytes(needed)} of disk space, {existing} has {gigabytes(free)} free.")


def missing_urls(builder: Any, downloads: Path) -> list[str]:
    """URLs of the files that TFDS has yet to download for a data set; empty if TFDS has no list of URLs.

    Files that TFDS has downloaded before, and files in <downloads>/manual, are left out. The result may contain URLs
    that are not needed, because TFDS has one list for all configurations of a data set.
    """
    from tensorflow_datasets.core.download import resource

    missing = []
    for url, known in (builder.url_infos or {}).items():
        file = resource.get_dl_fname(url, known.checksum)
        kept = (downloads / builder.name / file, downloads / file)
        by_hand = downloads / "manual" / known.filename if known.filename else None
        if not any(map(resource.is_locally_cached, kept)) and not (by_hand and by_hand.exists()):
            missing.append(url)
    return missing


def _require_network(name: Name, urls: Sequence[str], by_hand: Path) -> None:
    """Checks that at least one host of `urls` can be reached. TFDS itself would retry for over three minutes."""
    if not urls or answers(urls):
        return
    hosts = " and ".join(dict.fromkeys(str(urlsplit(url).hostname) for url in urls))
    more = f" and {len(urls) - URLS_TOLD} more" if len(urls) > URLS_TOLD else ""
    raise UserError(
        f"{name}: {hosts} cannot be reached; run this command on a machine with a network, or "
        f"put {', '.join(urls[:URLS_TOLD])}{more} into {by_hand} and run it again."
    )


def answers(urls: Sequence[str], seconds: float = PROBE_SECONDS) -> bool:
    """Whether at least one host of `urls` answers a HEAD request, with any status, within `seconds` in total.

    One host is enough, because a host that does not answer may be one that is not needed. The requests use the proxies
    of the environment, as the download does. If `urls` contains an FTP URL, the result is True, because FTP has no HEAD
    request.
    """
    import requests

    by_host = {(part := urlsplit(url)).netloc: (part.scheme, url) for url in urls}
    if any(scheme not in ("http", "https") for scheme, _ in by_host.values()):
        return True
    results: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            requests.head(url, timeout=seconds)
        except requests.RequestException:
            results.put(False)
        else:
            results.put(True)

    for _, url in by_host.values():
        # These threads are not joined, because looking up a name has no timeout.
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + seconds
    with contextlib.suppress(queue.Empty):
        return any(results.get(timeout=max(0.0, end - time.monotonic())) for _ in by_host)
    return False


# --- leaving early ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which SIGTERM is treated like Ctrl-C, so that TFDS deletes its partial files."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("interrupted; partial files were deleted.") from interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _no_partial_downloads(downloads: Path) -> Iterator[None]:
    """Context that deletes, at its end, the directories <file>.tmp.<id> of unfinished downloads."""

    def partial() -> set[Path]:
        return set(downloads.glob("**/*.tmp.*"))

    before = partial()
    try:
        yield
    finally:
        for directory in partial() - before:
            shutil.rmtree(directory, ignore_errors=True)


def _line(error: BaseException) -> str:
    # A message of TFDS gives the cause last: 'Failed to construct dataset "x", ... "{...}": CAUSE'
    return reason(error).rsplit('": ', 1)[-1]


if __name__ == "__main__":
    try:
        cli.run_main(main)
    except SystemExit as leaving:
        # Ends at once, because Python would wait for the threads of an interrupted download.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else cli.BAD_INPUT)
