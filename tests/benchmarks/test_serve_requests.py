from benchmarks import serve_requests
from feature_store.settings import Settings


def test_the_quick_measure_asks_a_real_service_in_all_ways(tmp_path):
    found = serve_requests.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] == "serve_requests" and found["goal"] == 5.0
    parts = found["parts"]
    assert list(parts) == ["batching", "batching off", "batching, answers kept"]
    for part in parts.values():
        assert part["per_second"] > 0 and part["failed"] == 0
        assert 0 < part["p50_ms"] <= part["p99_ms"]
    assert found["ratio"] == parts["batching"]["per_second"] / parts["batching off"]["per_second"]
    assert parts["batching off"]["rows_a_batch"] == 1 < parts["batching"]["rows_a_batch"]
    # What was asked before is not asked of the model again.
    kept = parts["batching, answers kept"]
    assert kept["batch_ms_a_request"] < 0.2 * parts["batching"]["batch_ms_a_request"]
