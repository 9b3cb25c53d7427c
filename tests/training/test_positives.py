import pytest
import torch

from training.tokenizers.positives import Positives, neighbours, pairs_among

ITEMS = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.9, 0.2]])
PAIRS = torch.tensor([[0, 3], [0, 2], [3, 0]])


def generator():
    return torch.Generator().manual_seed(0)


def drawn(positives, anchor, times=400):
    rows, has = positives.draw(torch.full((times,), anchor), generator())
    return set(rows.tolist()), bool(has.all()), rows


def test_neighbours_come_nearest_first_and_never_are_the_item_itself():
    found = neighbours(ITEMS, torch.tensor([0, 2]), 3)
    assert found.tolist() == [[1, 4, 3], [3, 4, 1]]
    assert neighbours(ITEMS, torch.tensor([0]), 99).shape == (1, 4)
    assert neighbours(ITEMS[:1], torch.tensor([0]), 3).shape == (1, 0)


def test_chunks_do_not_change_neighbours(monkeypatch):
    points = torch.randn((50, 4), generator=generator())
    whole = neighbours(points, torch.arange(50), 3)
    monkeypatch.setattr("training.tokenizers.quantize.CHUNK_ENTRIES", 50 * 7)
    assert torch.equal(neighbours(points, torch.arange(50), 3), whole)


def test_both_sources_are_drawn_from_in_the_share_that_is_asked_for():
    positives = Positives.of(ITEMS, PAIRS, num_neighbours=2, share=0.25)
    found, has, rows = drawn(positives, 0, times=4000)
    assert has
    assert found == {1, 4, 2, 3}
    assert float((rows == 2).float().mean()) == pytest.approx(0.125, abs=0.02)
    assert float((rows == 1).float().mean()) == pytest.approx(0.375, abs=0.03)


def test_an_item_without_pairs_gets_neighbours_and_one_without_neighbours_pairs():
    assert drawn(Positives.of(ITEMS, PAIRS, num_neighbours=1, share=1.0), 2)[:2] == ({3}, True)
    assert drawn(Positives.of(ITEMS, PAIRS, num_neighbours=0, share=0.0), 0)[:2] == ({2, 3}, True)


def test_without_any_positive_an_item_stands_for_itself_and_is_marked():
    positives = Positives.of(ITEMS, PAIRS, num_neighbours=0, share=0.5)
    rows, has = positives.draw(torch.tensor([0, 1, 3]), generator())
    assert has.tolist() == [True, False, True]
    assert rows[1:].tolist() == [1, 0]
    alone, has = Positives.of(ITEMS[:1], None, num_neighbours=5, share=0.5).draw(
        torch.tensor([0]), generator()
    )
    assert (alone.tolist(), has.tolist()) == ([0], [False])


def test_the_same_seed_draws_the_same():
    positives = Positives.of(ITEMS, PAIRS, num_neighbours=2, share=0.5)
    first, _ = positives.draw(torch.arange(5), generator())
    again, _ = positives.draw(torch.arange(5), generator())
    assert torch.equal(first, again)


def test_what_there_is_to_draw_from_is_told():
    assert Positives.of(ITEMS, PAIRS, num_neighbours=2, share=0.5).facts() == {
        "pairs_given": 3,
        "items_with_given": 2,
        "items_with_neighbours": 5,
        "items_without_positive": 0,
    }
    facts = Positives.of(ITEMS, None, num_neighbours=0, share=0.5).facts()
    assert (facts["pairs_given"], facts["items_without_positive"]) == (0, 5)


@pytest.mark.parametrize("pair", [[0, 5], [-1, 2], [3, 3]])
def test_pairs_of_rows_that_are_not_there_are_refused(pair):
    pairs = torch.tensor([[0, 1], pair])
    with pytest.raises(ValueError, match=r"1 of 2 pairs are not of two of the 5 items, the first"):
        Positives.of(ITEMS, pairs, num_neighbours=2, share=0.5)


def test_pairs_with_an_item_that_is_left_out_are_left_out():
    kept = torch.tensor([True, False, False, True, True])
    assert pairs_among(PAIRS, kept).tolist() == [[0, 1], [1, 0]]
    assert pairs_among(PAIRS, torch.zeros(5, dtype=torch.bool)).shape == (0, 2)
