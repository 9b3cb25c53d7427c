import json

import pytest
import torch

from training.evaluation.projection import points_by_prefix, principal_plane
from training.evaluation.tokenizer import (
    collision,
    consistency,
    fit_without,
    gini,
    held_out_items,
    level_figures,
    measure_codes,
    measure_unseen,
    neighbour_pairs,
    purity,
    reconstruction_mse,
    residual_shares,
)
from training.evaluation.tokenizer_alarms import alarms
from training.tokenizers.rq_kmeans import RqKMeans, RqKMeansConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    """Ten groups of forty items; within a group items differ little."""
    centres = torch.randn((10, 32), generator=generator()) * 4
    return centres.repeat_interleave(40, 0) + torch.randn((400, 32), generator=generator(1))


@pytest.fixture(scope="module")
def fitted(world):
    return RqKMeans.fit(world, RqKMeansConfig(codebook_size=12))


def test_collision_figures_by_hand():
    found = collision(torch.tensor([[0, 1], [0, 1], [0, 1], [2, 0], [3, 0]]))
    assert found["share"] == pytest.approx(1 - 3 / 5)
    assert found["items_sharing"] == pytest.approx(3 / 5)
    assert found["largest_bucket"] == 3
    # U=3, N=5, ascending 1 1 3: 4/3 − 2·(3·1 + 2·1 + 1·3)/15
    assert found["gini"] == pytest.approx(4 / 3 - 16 / 15)


def test_gini_of_even_counts_is_zero_and_of_one_code_too():
    assert gini(torch.tensor([7, 7, 7])) == pytest.approx(0)
    assert gini(torch.tensor([7])) == pytest.approx(0)
    assert gini(torch.tensor([1] * 99 + [1000])) > 0.9 * 0.9


def test_level_figures_by_hand():
    first, second = level_figures(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 0]]), 4)
    assert first["used_codes"] == 2
    assert first["used_share"] == 0.5
    assert first["dead_share"] == 0.5
    assert first["largest_share"] == 0.5
    assert first["hhi"] == 0.5
    assert first["entropy_share"] == pytest.approx(0.5)  # log 2 / log 4
    assert first["perplexity"] == pytest.approx(2)
    assert first["conditional_entropy_nats"] == pytest.approx(0.6931, abs=1e-4)
    assert first["counts"] == [2, 2, 0, 0]
    # Below code 0 the second code is a fair coin, below code 1 it is certain: half of log 2.
    assert second["conditional_entropy_nats"] == pytest.approx(0.6931 / 2, abs=1e-4)
    assert second["prefixes"] == 3


def test_consistency_finds_groups_and_nothing_in_random_pairs(world, fitted):
    codes = fitted.encode(world)
    anchors = torch.arange(400)
    together = neighbour_pairs(world, anchors)
    assert consistency(codes, together)[0]["agreement"] > 0.9
    assert consistency(codes, together)[0]["lift"] > 8
    drawn = torch.randint(400, (4000, 2), generator=generator())
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    assert consistency(codes, drawn)[0]["lift"] == pytest.approx(1, abs=0.15)


def test_agreement_of_deeper_prefixes_never_grows(world, fitted):
    codes = fitted.encode(world)
    pairs = torch.randint(400, (4000, 2), generator=generator())
    agreement = [depth["agreement"] for depth in consistency(codes, pairs)]
    assert agreement == sorted(agreement, reverse=True)


def test_purity_is_the_mean_cosine_within_prefixes():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    codes = torch.tensor([[0], [0], [1], [1], [2]])
    (found,) = purity(codes, embeddings)
    assert found["cosine"] == pytest.approx((2 * 0 + 2 * 1) / 4)
    assert found["items"] == pytest.approx(4 / 5)


def test_purity_without_company_is_stated_as_zero_items():
    (found,) = purity(torch.tensor([[0], [1]]), torch.eye(2))
    assert found == {"cosine": 0.0, "items": 0.0}


def test_residuals_and_reconstruction_agree(world, fitted):
    codes = fitted.encode(world)
    shares = residual_shares(fitted, world, codes)
    assert shares == sorted(shares, reverse=True)
    error = reconstruction_mse(fitted, world, codes)
    # What is left after the last level is the error of the reconstruction.
    assert shares[-1] == pytest.approx(error * world.numel() / float(world.square().sum()))
    plain = (fitted.reconstruct(codes) - world).square().mean()
    assert error == pytest.approx(float(plain), rel=1e-4)


def test_nearest_items_are_others():
    embeddings = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    pairs = neighbour_pairs(embeddings, torch.tensor([0, 2, 3]))
    assert pairs.tolist() == [[0, 1], [2, 3], [3, 2]]


def test_the_whole_measure_is_json(world, fitted):
    pairs = torch.tensor([[0, 1], [40, 41]])
    figures = measure_codes(fitted, world, fitted.encode(world), pairs_P2=pairs)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["items"] == 400
    assert len(figures["levels"]) == 3
    assert figures["consistency_given"][0]["agreement"] == 1
    assert alarms(figures) == []


def test_items_that_were_not_fitted_keep_their_neighbours_and_are_described_worse(world, fitted):
    is_unseen = torch.rand(400, generator=generator()) < 0.1
    rest = RqKMeans.fit(world[~is_unseen], RqKMeansConfig(codebook_size=12))
    unseen = measure_unseen(rest, world, is_unseen, seed=0)
    assert json.loads(json.dumps(unseen, allow_nan=False)) == unseen
    assert unseen["items"] == int(is_unseen.sum())
    assert unseen["consistency"][0]["lift"] > 6
    figures = measure_codes(fitted, world, fitted.encode(world))
    assert unseen["reconstruction_mse"] > figures["reconstruction_mse"]


def test_what_is_held_out_is_kept_from_the_fit_with_all_its_pairs(world, monkeypatch):
    shown = []

    def fit(embeddings_ND, config, pairs_P2=None):
        shown.append((embeddings_ND, pairs_P2))

    monkeypatch.setattr(RqKMeans, "fit", fit)
    is_unseen = held_out_items(400, 0.1, seed=0)
    assert int(is_unseen.sum()) == 40
    assert torch.equal(is_unseen, held_out_items(400, 0.1, seed=0))
    assert not torch.equal(is_unseen, held_out_items(400, 0.1, seed=1))
    pairs = torch.randint(400, (500, 2), generator=generator())
    fit_without(RqKMeans, world, RqKMeansConfig(), is_unseen, pairs)
    fit_without(RqKMeans, world, RqKMeansConfig(), is_unseen)
    (embeddings, kept), (_, none) = shown
    assert torch.equal(embeddings, world[~is_unseen])
    wanted = pairs[~is_unseen[pairs].any(1)]
    assert torch.equal(embeddings[kept], world[wanted])
    assert none is None


def test_given_pairs_count_where_an_item_of_theirs_was_not_seen(world, fitted):
    is_unseen = torch.arange(400) < 40
    pairs = torch.tensor([[0, 1], [5, 399], [300, 2], [100, 101], [398, 399]])
    found = measure_unseen(fitted, world, is_unseen, seed=0, pairs_P2=pairs)
    assert found["pairs_given"] == 3
    assert found["consistency_given"] == consistency(fitted.encode(world), pairs[:3])
    seen = measure_unseen(fitted, world, is_unseen, seed=0, pairs_P2=pairs[3:])
    assert seen["pairs_given"] == 0
    assert "consistency_given" not in seen


def test_many_unseen_items_are_sampled(world, fitted, monkeypatch):
    monkeypatch.setattr("training.evaluation.tokenizer.MOST_ANCHORS", 5)
    unseen = measure_unseen(fitted, world, torch.arange(400) < 50, seed=0)
    assert unseen["items"] == 50
    assert (unseen["consistency"][0]["agreement"] * 5) % 1 == pytest.approx(0)


@pytest.mark.parametrize("num_items", [1, 3])
def test_a_tiny_catalogue_is_measured(num_items):
    embeddings = torch.eye(num_items, 8)
    tokenizer = RqKMeans.fit(embeddings, RqKMeansConfig(codebook_size=4))
    figures = measure_codes(tokenizer, embeddings, tokenizer.encode(embeddings))
    assert figures["collision"]["share"] == 0
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert (
        alarms(figures)[0] == f"{num_items} items can't fill 4 codes: a smaller codebook would do"
    )
    assert not any("lopsided" in alarm or "uses only" in alarm for alarm in alarms(figures))


def test_alarms_say_what_went_wrong():
    same = torch.ones((50, 8))
    tokenizer = RqKMeans.fit(same, RqKMeansConfig(codebook_size=12))
    text = "\n".join(alarms(measure_codes(tokenizer, same, tokenizer.encode(same))))
    assert "98% of items are not told apart" in text
    assert "level 1 uses only 1 of 12 codes" in text
    assert "level 1 is lopsided: its largest code holds 100% of items" in text
    assert "residual vanishing: after level 1 of 3" in text


def test_low_consistency_raises_an_alarm(world, fitted):
    figures = measure_codes(fitted, world, fitted.encode(world))
    assert alarms(figures) == []
    figures["held_out"] = {"consistency": [{"lift": 1.2}]}
    assert (
        "nearest neighbours among unseen items share their first code only 1.2"
        in alarms(figures)[0]
    )
    figures["held_out"] = {"consistency": [{"lift": 9}], "consistency_given": [{"lift": 1.5}]}
    assert "given pairs among unseen items share their first code only 1.5" in alarms(figures)[0]


def test_the_plane_shows_the_directions_of_largest_variance():
    points = torch.zeros((100, 5))
    points[:, 3] = torch.linspace(-10, 10, 100)
    points[:, 1] = torch.randn(100, generator=generator())
    rows, plane = principal_plane(points, most_points=1000, seed=0)
    assert rows.tolist() == list(range(100))
    assert torch.allclose(plane[:, 0], points[:, 3], atol=0.5)
    assert torch.allclose(plane[:, 1], points[:, 1] - points[:, 1].mean(), atol=0.5)


def test_a_large_catalogue_is_drawn_from_a_sample(world):
    rows, plane = principal_plane(world, most_points=50, seed=0)
    assert plane.shape == (50, 2)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(plane, principal_plane(world, most_points=50, seed=0)[1])


def test_one_item_has_a_place():
    rows, plane = principal_plane(torch.ones((1, 4)), most_points=5, seed=0)
    assert rows.tolist() == [0]
    assert plane.tolist() == [[0, 0]]


def test_the_picture_names_every_points_first_code(world, fitted):
    codes = fitted.encode(world)
    points = points_by_prefix(world, codes, most_points=60)
    rows, plane = principal_plane(world, most_points=60, seed=0)
    assert [code for _, _, code in points] == codes[rows, 0].tolist()
    assert torch.allclose(torch.tensor(points)[:, :2], plane, atol=1e-3)
