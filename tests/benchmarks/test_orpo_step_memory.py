import torch

from benchmarks import orpo_step_memory
from benchmarks.step_memory import allocated_peak
from feature_store.settings import Settings


def test_the_peak_is_what_lives_at_the_same_time():
    kept = []

    def work():
        first = torch.zeros(1000)
        second = torch.zeros(3000)
        del first
        kept.append(torch.zeros(500))
        del second
        torch.zeros(2000)

    assert allocated_peak(work) == 4 * 4000


def test_the_quick_measure_compares_all_four(tmp_path):
    found = orpo_step_memory.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["ratio"] == found["ours"] / found["peers"]["pretraining"]
    assert found["goal"] == 1.1
    kept, in_step = found["parts"].values()
    assert found["ours"] <= kept["MiB"] < in_step["MiB"]
    assert (
        "9 pairs of slates of 10 after 50 events against 13 slates, 1,170 positions"
        in (found["work"])
    )
