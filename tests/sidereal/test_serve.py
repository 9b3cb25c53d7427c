"""`sidereal serve`: a process that listens, says so, and ends when it is told to."""

import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner

from sidereal.cli import main
from sidereal.serve import serve


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    monkeypatch.delenv("SIDEREAL_SERVE_TOKEN", raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "shop.example"])
def test_without_a_token_it_listens_on_loopback_alone(host):
    done = CliRunner().invoke(serve, ["--host", host])
    assert done.exit_code == 2
    assert f"--host is {host}, and SIDEREAL_SERVE_TOKEN is not set" in done.output


def test_a_preset_that_is_none_is_a_usage_error():
    done = CliRunner().invoke(main, ["serve", "--preset", "nobody"])
    assert done.exit_code == 2 and "nobody" in done.output


def test_an_address_that_is_taken_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(serve, ["--port", str(port)])
    assert done.exit_code == 1
    assert f"serve: can't listen on 127.0.0.1:{port}: Address already in use" in done.output


def test_a_process_answers_its_probes_and_ends_on_sigterm(tmp_path):
    command = [sys.executable, "-m", "sidereal.cli", "serve", "--port", "0"]
    token = "not to be printed"
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"SIDEREAL_SERVE_TOKEN": token},
    ) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
            assert httpx.get(f"{address}/health").status_code == 200
            ready = httpx.get(f"{address}/ready")
            assert ready.status_code == 503 and ready.json()["preset"] == "movielens-100k"
            body = {"item_ids": []}
            assert httpx.post(f"{address}/v1/recommend", json=body).status_code == 401
            right = {"Authorization": f"Bearer {token}"}
            answer = httpx.post(f"{address}/v1/recommend", json=body, headers=right)
            assert answer.status_code == 503
        finally:
            process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert "Traceback" not in line + rest and token not in line + rest
    assert not (tmp_path / "catalog.db").exists()
