"""Fixtures that several packages' tests share."""

import os
from pathlib import Path

import pytest

from feature_store.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def settings(tmp_path):
    """Settings whose whole state lives and dies with the test."""
    return Settings(home=tmp_path / "home", spark_master="local[2]", spark_driver_memory="1g")


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """The one Spark session of the test process."""
    from pipelines.session import build_session

    settings = Settings(
        home=tmp_path_factory.mktemp("spark-home"),
        spark_master="local[2]",
        spark_driver_memory="1g",
        # In a session of half an hour Java's usual collector marks the heap all the time, beside
        # the tests of the other core.
        spark_driver_java_options="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    )
    session = build_session(settings, name="tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the development data (KuaiRand, Amazon Office); absent on most machines."""
    folder = Path(os.environ.get("SIDEREAL_TEST_DATA", REPOSITORY / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}; set SIDEREAL_TEST_DATA to its folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def movielens_100k(tmp_path_factory):
    """Folder with MovieLens-100K, fetched once per machine as `sidereal fetch` does it."""
    from pipelines.sources.fetch import FetchFailed, fetch

    kept = Path(os.environ.get("SIDEREAL_TEST_CACHE", Path.home() / ".cache" / "sidereal-tests"))
    try:
        return fetch("movielens-100k", Settings(home=kept))
    except FetchFailed as failure:
        pytest.skip(f"MovieLens-100K can't be fetched here: {failure}")
