from itertools import product

import numpy as np
import pytest
import torch

from training.decoding import trie as trie_module
from training.decoding.beam import beam_search, top_items
from training.decoding.trie import CodeTrie

SIZES = (5, 7, 4)


def catalogue(num_items, seed=0, *, sizes=SIZES):
    generator = np.random.default_rng(seed)
    every = np.array(list(product(*(range(size) for size in sizes))))
    return every[generator.permutation(len(every))[:num_items]]


class TableModel:
    """A model whose logits are a random function of the row and the whole prefix."""

    def __init__(self, num_rows, *, sizes=SIZES, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.rows = torch.arange(num_rows).unsqueeze(1)
        self.sizes = sizes
        self.tables = [
            torch.randn((num_rows, *sizes[: level + 1]), generator=generator) * 2
            for level in range(len(sizes))
        ]

    def __call__(self, prefix_BWl, parent_BW):
        level = prefix_BWl.shape[-1]
        return self.tables[level][(self.rows, *prefix_BWl.unbind(-1))].expand(
            -1, prefix_BWl.shape[1], -1
        )

    def brute_force(self, row, codes, normalisation):
        """Log-probability of every ID, one prefix at a time."""
        scores = []
        for target in codes:
            total = 0.0
            for level, code in enumerate(target):
                logits = self.tables[level][(row, *target[:level])]
                legal = sorted({c[level] for c in codes if (c[:level] == target[:level]).all()})
                over = logits[legal] if normalisation == "legal" else logits
                total += float(logits[code] - over.logsumexp(0))
            scores.append(total)
        return np.array(scores)


@pytest.fixture(params=["dense", "sparse"])
def table_form(request, monkeypatch):
    monkeypatch.setattr(trie_module, "DENSE_FILL", 0.0 if request.param == "dense" else 2.0)
    return request.param


@pytest.mark.parametrize("normalisation", ["legal", "all"])
def test_a_wide_beam_equals_brute_force(table_form, normalisation):
    codes, model = catalogue(30), TableModel(3)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    assert (trie.branches[1].illegal is not None) == (table_form == "dense")
    beams = beam_search(model, trie, num_rows=3, beam_width=40, normalisation=normalisation)
    items, scores = top_items(beams, trie, 30)
    for row in range(3):
        truth = model.brute_force(row, codes, normalisation)
        order = np.argsort(-truth)
        assert items[row].tolist() == order.tolist()
        assert np.allclose(scores[row].numpy(), truth[order], atol=1e-5)


def test_scores_over_legal_codes_sum_to_one_and_over_all_codes_to_less():
    trie = CodeTrie.from_codes(catalogue(30), num_codes=SIZES)
    total = {
        how: beam_search(TableModel(2), trie, num_rows=2, beam_width=60, normalisation=how)
        .score_BW.exp()
        .sum(1)
        for how in ("legal", "all")
    }
    assert torch.allclose(total["legal"], torch.ones(2), atol=1e-5)
    assert (total["all"] < 0.9).all()


@pytest.mark.parametrize("beam_width", [1, 3, 10])
def test_every_id_of_a_narrow_beam_exists_and_comes_once(table_form, beam_width):
    codes = catalogue(40, seed=1)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    beams = beam_search(TableModel(16, seed=1), trie, num_rows=16, beam_width=beam_width)
    known = {tuple(code) for code in codes.tolist()}
    for row in range(16):
        found = [tuple(code) for code in beams.codes_BWQ[row].tolist()]
        assert set(found) <= known
        assert len(set(found)) == len(found) == beam_width
    assert beams.illegal_share(trie) == 0
    assert (beams.score_BW.diff(dim=1) <= 0).all()


def test_every_id_can_be_reached(table_form):
    codes = catalogue(50, seed=2)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    wanted = torch.from_numpy(codes)

    def points_at_its_row(prefix_BWl, parent_BW):
        code = wanted[:, prefix_BWl.shape[-1]]
        logits = torch.nn.functional.one_hot(code, SIZES[prefix_BWl.shape[-1]]).float() * 50
        return logits.unsqueeze(1).expand(-1, prefix_BWl.shape[1], -1)

    beams = beam_search(points_at_its_row, trie, num_rows=50, beam_width=1)
    assert top_items(beams, trie, 1)[0].squeeze(1).tolist() == list(range(50))


def test_dead_beams_come_last_as_minus_one(table_form):
    # Two IDs in all, a beam of five: below code 0 there is one child, below code 3 another.
    trie = CodeTrie.from_codes(np.array([[0, 1, 1], [3, 6, 0]]), num_codes=SIZES)
    beams = beam_search(TableModel(4), trie, num_rows=4, beam_width=5)
    assert (beams.leaf_BW[:, 2:] == -1).all()
    assert (beams.codes_BWQ[:, 2:] == -1).all()
    assert (beams.score_BW[:, 2:] == float("-inf")).all()
    assert beams.leaf_BW[:, :2].sort(1).values.tolist() == [[0, 1]] * 4


def test_a_catalogue_of_one_item_gives_that_item():
    trie = CodeTrie.from_codes(np.array([[2, 3, 1]]), num_codes=SIZES)
    items, scores = top_items(beam_search(TableModel(2), trie, num_rows=2, beam_width=4), trie, k=3)
    assert items.tolist() == [[0, -1, -1]] * 2
    assert scores[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("width", [5, 12])
def test_seen_items_never_come_and_the_width_is_kept(table_form, width):
    codes, model = catalogue(40, seed=3), TableModel(4, seed=3)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    generator = np.random.default_rng(0)
    seen = np.stack([generator.choice(40, 26, replace=True) for _ in range(4)])
    seen[:, -3:] = -1
    beams = beam_search(model, trie, num_rows=4, beam_width=width, seen_BE=torch.from_numpy(seen))
    items, _ = top_items(beams, trie, width, seen_BE=torch.from_numpy(seen))
    for row in range(4):
        assert not set(items[row].tolist()) & set(seen[row].tolist())
        assert len(set(items[row].tolist())) == width


def test_a_wide_beam_without_the_seen_items_equals_brute_force(table_form):
    codes, model = catalogue(40, seed=3), TableModel(2, seed=3)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    seen = torch.tensor([[4, 7, 4, -1], [30, 31, 32, 33]])
    beams = beam_search(model, trie, num_rows=2, beam_width=140, seen_BE=seen)
    items, scores = top_items(beams, trie, 40, seen_BE=seen)
    for row in range(2):
        truth = model.brute_force(row, codes, "legal")
        left = [item for item in np.argsort(-truth).tolist() if item not in seen[row].tolist()]
        assert items[row].tolist() == left + [-1] * (40 - len(left))
        assert np.allclose(scores[row, : len(left)].numpy(), truth[left], atol=1e-5)


def test_a_row_that_has_seen_everything_gets_nothing(table_form):
    trie = CodeTrie.from_codes(catalogue(6), num_codes=SIZES)
    seen = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, -1]])
    beams = beam_search(TableModel(2), trie, num_rows=2, beam_width=3, seen_BE=seen)
    assert top_items(beams, trie, 2, seen_BE=seen)[0].tolist() == [[-1, -1], [5, -1]]


def test_items_of_a_bucket_come_together_without_the_seen_ones():
    codes = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    seen = torch.tensor([[2, -1, -1], [1, 3, 0]])
    beams = beam_search(TableModel(2), trie, num_rows=2, beam_width=2, seen_BE=seen)
    items, scores = top_items(beams, trie, 4, seen_BE=seen)
    zeros_first = beams.codes_BWQ[0, 0, 0] == 0
    assert items[0].tolist() == ([0, 4, 1, 3] if zeros_first else [1, 3, 0, 4])
    assert items[1].tolist() == [2, 4, -1, -1]
    assert scores[0, 0] == scores[0, 1] > scores[0, 2]
    assert scores[1, 2] == float("-inf")


def test_without_the_constraint_the_share_of_ids_that_do_not_exist_is_counted():
    codes = catalogue(70, seed=4)
    trie = CodeTrie.from_codes(codes, num_codes=SIZES)
    beams = beam_search(TableModel(8), trie, num_rows=8, beam_width=140, constrained=False)
    assert beams.codes_BWQ.shape == (8, 140, 3)
    assert beams.illegal_share(trie) == pytest.approx(0.5)  # 70 of all 140 tuples exist
    items, _ = top_items(beams.located(trie), trie, 140)
    assert items.sort(1).values.tolist() == [[-1] * 70 + list(range(70))] * 8
    assert (beams.score_BW.exp().sum(1) - 1).abs().max() < 1e-5


def test_parents_tell_which_beam_a_prefix_continues():
    trie = CodeTrie.from_codes(catalogue(60, seed=5), num_codes=SIZES)
    model, before = TableModel(3), []

    def step(prefix_BWl, parent_BW):
        if before:
            kept = before[-1].gather(
                1, parent_BW.unsqueeze(-1).expand(-1, -1, before[-1].shape[-1])
            )
            assert torch.equal(kept, prefix_BWl[..., :-1])
        before.append(prefix_BWl)
        return model(prefix_BWl, parent_BW)

    beam_search(step, trie, num_rows=3, beam_width=4)
    assert [prefix.shape for prefix in before] == [(3, 1, 0), (3, 4, 1), (3, 4, 2)]


def test_wrong_calls_are_refused():
    trie = CodeTrie.from_codes(catalogue(6), num_codes=SIZES)
    with pytest.raises(ValueError, match="beam_width is 0, expected at least 1"):
        beam_search(TableModel(1), trie, num_rows=1, beam_width=0)
    with pytest.raises(ValueError, match="seen_BE needs the constraint"):
        beam_search(
            TableModel(1),
            trie,
            num_rows=1,
            beam_width=1,
            constrained=False,
            seen_BE=torch.tensor([[1]]),
        )
    with pytest.raises(ValueError, match="level 0: the model gives 4 logits, the tree has 5 codes"):
        beam_search(TableModel(1, sizes=(4, 7, 4)), trie, num_rows=1, beam_width=1)
