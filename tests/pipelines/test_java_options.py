"""What a driver's JVM is told, and that a stale class archive doesn't stand in its way."""

import subprocess

import pytest

from feature_store.settings import Settings
from pipelines import java_options


@pytest.fixture
def stale(tmp_path, monkeypatch):
    """An archive that no JVM can use."""
    path = tmp_path / "stale.jsa"
    path.write_bytes(b"of another Java" * 1000)
    monkeypatch.setattr(java_options, "ARCHIVE", path)
    return path


def test_the_archive_is_used_where_it_was_made(stale):
    assert f"-XX:SharedArchiveFile={stale}" in java_options.driver_java_options(Settings())
    stale.unlink()
    assert "SharedArchiveFile" not in java_options.driver_java_options(Settings())


def test_java_starts_in_silence_without_an_archive_that_it_can_not_use(stale):
    options = java_options.driver_java_options(Settings()).split()
    started = subprocess.run(
        ["java", *options, "--version"], capture_output=True, text=True, check=True
    )
    assert started.stderr == ""
    assert started.stdout.startswith("openjdk")
