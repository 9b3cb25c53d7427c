import pytest

from benchmarks import serve_soak
from benchmarks.serve_soak import SoakFailed
from feature_store.settings import Settings


def test_the_quick_soak_loses_no_request_and_serves_what_was_promoted(tmp_path):
    found = serve_soak.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    parts = found["parts"]
    assert parts["failed"] == {} and parts["requests"] > 100
    assert [version for _, version in parts["versions"]] == [1, 2, 1, 2]
    assert (parts["swaps"], parts["refused"]) == (4, 1)
    assert [says for _, says in parts["changes"]] == [
        "promoted", "rolled back", "corrupt by hand", "promoted",
    ]  # fmt: skip
    assert found["ratio"] == found["ours"] / found["peers"]["at the start"] > 0
    assert parts["peak_mb"] >= max(found["ours"], parts["middle_mb"]) > 100


SEEN = {"requests": 9, "failed": {}, "versions": [[(0.0, 1), (2.0, 2)], [(0.1, 1), (2.1, 2)]]}


def test_a_soak_whose_requests_fail_or_meet_another_version_fails():
    serve_soak._require_sound(SEEN, [1, 2])
    with pytest.raises(SoakFailed, match=r"of 9 requests failed, by answer: {'503': 1}"):
        serve_soak._require_sound(SEEN | {"failed": {"503": 1}}, [1, 2])
    with pytest.raises(SoakFailed, match=r"client 0 was answered by \[1, 2\], expected \[1, 2, 1"):
        serve_soak._require_sound(SEEN, [1, 2, 1])
