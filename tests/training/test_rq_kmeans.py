import torch

from tests.suites.quantizer import QuantizerSuite
from training.tokenizers import kmeans as kmeans_module
from training.tokenizers import quantize
from training.tokenizers.kmeans import kmeans, seed_codes
from training.tokenizers.rq_kmeans import RqKMeans, RqKMeansConfig


class TestRqKMeans(QuantizerSuite):
    kind = "rq_kmeans"


def generator():
    return torch.Generator().manual_seed(0)


def test_kmeans_finds_groups_that_are_far_apart():
    centres = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    points = centres.repeat(50, 1) + torch.rand((150, 2), generator=generator())
    found = kmeans(points, 3, iterations=20, generator=generator())
    assert sorted(torch.bincount(found.code_N).tolist()) == [50, 50, 50]
    mean = points.view(50, 3, 2).mean(0)
    assert torch.allclose(found.codebook_KH[found.code_N[:3]], mean, atol=1e-4)


def test_a_dead_code_is_revived_at_the_point_described_worst(monkeypatch):
    # The last two seeds lie where no point is: their codes die at once.
    points = torch.tensor([[0.0], [0.1], [0.2], [0.3], [50.0], [-80.0]])
    seeds = torch.tensor([[0.0], [1e6], [2e6]])
    monkeypatch.setattr(kmeans_module, "seed_codes", lambda *arguments: seeds)
    found = kmeans(points, 3, iterations=20, generator=generator())
    assert found.revived == 2
    assert torch.allclose(found.codebook_KH.sort(0).values.T, torch.tensor([[-80.0, 0.15, 50.0]]))
    assert sorted(torch.bincount(found.code_N).tolist()) == [1, 1, 4]


def test_equal_points_revive_one_code_not_two(monkeypatch):
    points = torch.tensor([[0.0], [0.0], [0.0], [9.0], [9.0]])
    seeds = torch.tensor([[0.0], [1e6], [2e6]])
    monkeypatch.setattr(kmeans_module, "seed_codes", lambda *arguments: seeds)
    found = kmeans(points, 3, iterations=20, generator=generator())
    assert found.revived == 1
    assert int(found.is_used_K.sum()) == 2
    assert found.mean_squared_error == 0


def test_seeds_are_distinct_points_and_no_more_than_there_are():
    points = torch.tensor([[1.0, 2.0]] * 5 + [[3.0, 4.0]] * 5)
    seeds = seed_codes(points, 8, generator())
    assert sorted(seeds.tolist()) == [[1.0, 2.0], [3.0, 4.0]]


def test_a_large_catalogue_is_fitted_on_a_sample_and_encoded_whole():
    points = torch.randn((2000, 8), generator=generator())
    fitted = RqKMeans.fit(points, RqKMeansConfig(codebook_size=16, max_points=500))
    assert fitted.report["fitted_points"] == 500
    assert fitted.encode(points).shape == (2000, 3)


def test_chunks_do_not_change_codes(monkeypatch):
    points = torch.randn((300, 8), generator=generator())
    whole = RqKMeans.fit(points, RqKMeansConfig(codebook_size=16))
    codes = whole.encode(points)
    monkeypatch.setattr(quantize, "CHUNK_ENTRIES", 16 * 7)
    assert torch.equal(whole.encode(points), codes)
    assert torch.equal(
        quantize.nearest(points, whole.codebooks_QKH[0], whole.is_used_QK[0])[0], codes[:, 0]
    )


def test_nearest_agrees_with_plain_distances():
    points, words = torch.randn((2, 200, 8), generator=generator())
    is_used = torch.rand(200, generator=generator()) < 0.5
    code, distance = quantize.nearest(points, words, is_used)
    plain = torch.cdist(points, words).square().masked_fill(~is_used, float("inf"))
    assert torch.equal(code, plain.argmin(1))
    assert torch.allclose(distance, plain.min(1).values, rtol=1e-3, atol=1e-4)


def test_moving_to_a_device_keeps_the_codes():
    points = torch.randn((50, 8), generator=generator())
    fitted = RqKMeans.fit(points, RqKMeansConfig(codebook_size=4))
    moved = fitted.to("cpu")
    assert moved.device == torch.device("cpu")
    assert torch.equal(moved.encode(points), fitted.encode(points))
