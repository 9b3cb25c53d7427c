import numpy as np
import pytest
import torch

from tests import worlds
from training.decoding.beam import IMPOSSIBLE
from training.decoding.slate import all_at_once, one_by_one
from training.decoding.trie import CodeTrie

CODES = {
    "even": worlds.codes_of(24, (2, 3, 4)),
    # One branch with one child beside one with nine: narrower and wider than any beam here.
    "uneven": np.array(
        [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]] + [[2, 2, k] for k in range(9)]
    ),
    # Two items of one semantic ID, and one without any.
    "buckets": np.array([[0, 0], [0, 0], [0, 1], [1, 1], [-1, -1], [1, 0], [1, 0], [1, 0]]),
}
SIZES = {"even": (2, 3, 4), "uneven": (4, 4, 9), "buckets": (2, 2)}


class Oracle:
    """Random logits that depend on the row, the place, all codes so far and what came before."""

    def __init__(self, sizes, num_rows, *, listens=True, seed=0):
        self.sizes, self.num_rows, self.listens, self.seed = sizes, num_rows, listens, seed

    def logits(self, row, place, prefix, before):
        told = tuple(before) if self.listens else ()
        key = (self.seed, row, place, len(prefix), *prefix, 99, *(item + 1 for item in told))
        draw = np.random.default_rng(key)
        return torch.from_numpy(draw.normal(0, 2, self.sizes[len(prefix)])).float()

    def next_item(self):
        """For `one_by_one`."""
        before = [[] for _ in range(self.num_rows)]
        place = -1

        def next_item(chosen_B):
            nonlocal place
            place += 1
            if chosen_B is not None:
                for items, item in zip(before, chosen_B.tolist(), strict=True):
                    items.append(item)

            def step(prefix_BWl, parent_BW):
                return torch.stack(
                    [
                        torch.stack([self.logits(row, place, p, before[row]) for p in prefixes])
                        for row, prefixes in enumerate(prefix_BWl.tolist())
                    ]
                )

            return step

        return next_item

    def open_rows(self, num_items):
        """For `all_at_once`."""

        def step(rows, prefix_RWl):
            places = [(row, place) for row in rows.tolist() for place in range(num_items)]
            return torch.stack(
                [
                    torch.stack([self.logits(*place, prefix, ()) for prefix in prefixes])
                    for place, prefixes in zip(places, prefix_RWl.tolist(), strict=True)
                ]
            )

        return lambda rows: lambda prefix_RWl, parent_RW: step(rows, prefix_RWl)


def log_probability(oracle, codes, row, place, code, before):
    """Of one semantic ID, by walking down: softmax over the codes that exist below each prefix."""
    total = 0.0
    for level in range(len(code)):
        prefix = code[:level]
        legal = sorted({other[level] for other in codes if other[:level] == prefix})
        logits = oracle.logits(row, place, prefix, before)[legal]
        total += float(logits.log_softmax(0)[legal.index(code[level])])
    return total


def liking(place, item):
    """What a model adds to an item's score at a place; large enough to change most choices."""
    return np.sin(7.0 * item + 3.0 * place) * 5.0


def slow_slate(oracle, codes, row, num_items, excluded, added=lambda place, item: 0.0):
    """Greedy over places; of all free items the best, the first of a bucket."""
    known = [tuple(code) for code in codes.tolist() if min(code) >= 0]
    items, scores = [], []
    for place in range(num_items):
        free = [
            item
            for item, code in enumerate(codes.tolist())
            if min(code) >= 0 and item not in excluded and item not in items
        ]
        if not free:
            break
        probability = {
            item: log_probability(oracle, known, row, place, tuple(codes[item]), items)
            for item in free
        }
        worth = {item: probability[item] + added(place, item) for item in free}
        best = max(free, key=lambda item: (worth[item], -item))
        items.append(best)
        scores.append(probability[best])
    return items, scores


def padded(rows):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows])


def as_lists(items_BM):
    return [[item for item in row if item >= 0] for row in items_BM.tolist()]


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("num_items", [1, 4, 30])
def test_a_wide_beam_finds_the_slow_slate(name, num_items):
    codes, excluded = CODES[name], [[], [0, 2, 5]]
    trie = CodeTrie.from_codes(codes, num_codes=SIZES[name])
    oracle = Oracle(SIZES[name], 2)
    search = {"num_rows": 2, "num_items": num_items, "beam_width": 40, "seen_BE": padded(excluded)}
    items_BM, scores_BM = one_by_one(oracle.next_item(), trie, **search)
    silent = Oracle(SIZES[name], 2, listens=False)
    at_once = all_at_once(silent.open_rows(num_items), trie, **search)
    for row in range(2):
        items, scores = slow_slate(oracle, codes, row, num_items, excluded[row])
        assert as_lists(items_BM)[row] == items
        np.testing.assert_allclose(scores_BM[row, : len(items)], scores, rtol=1e-4, atol=1e-5)
        assert (scores_BM[row, len(items) :] == IMPOSSIBLE).all()
        items, scores = slow_slate(silent, codes, row, num_items, excluded[row])
        assert as_lists(at_once[0])[row] == items
        np.testing.assert_allclose(at_once[1][row, : len(items)], scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CODES)
def test_the_best_of_a_beam_is_what_codes_and_the_model_say_together(name):
    codes, excluded, num_items = CODES[name], [[], [0, 2, 5]], 30
    trie = CodeTrie.from_codes(codes, num_codes=SIZES[name])
    oracle, silent = Oracle(SIZES[name], 2), Oracle(SIZES[name], 2, listens=False)
    search = {"num_rows": 2, "num_items": num_items, "beam_width": 40, "seen_BE": padded(excluded)}
    place, next_item = -1, oracle.next_item()

    def counted(chosen_B):
        nonlocal place
        place += 1
        return next_item(chosen_B)

    places_M1 = np.arange(num_items)[:, None]
    one = one_by_one(
        counted, trie, rescore=lambda item: torch.from_numpy(liking(place, item.numpy())), **search
    )
    at_once = all_at_once(
        silent.open_rows(num_items),
        trie,
        rescore=lambda rows, item: torch.from_numpy(liking(places_M1, item.numpy())),
        **search,
    )
    for row in range(2):
        for (items_BM, scores_BM), model in ((one, oracle), (at_once, silent)):
            items, scores = slow_slate(model, codes, row, num_items, excluded[row], liking)
            assert as_lists(items_BM)[row] == items
            assert items != slow_slate(model, codes, row, num_items, excluded[row])[0]
            # What is said stays the probability of its codes.
            np.testing.assert_allclose(scores_BM[row, : len(items)], scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("beam_width", [1, 2, 5])
def test_a_narrow_beam_says_every_item_once_and_nothing_else(name, beam_width):
    codes, excluded = CODES[name], [[], [1], [3, 0]]
    trie = CodeTrie.from_codes(codes, num_codes=SIZES[name])
    known = {item for item, code in enumerate(codes.tolist()) if min(code) >= 0}
    search = {
        "num_rows": 3,
        "num_items": len(codes) + 2,
        "beam_width": beam_width,
        "seen_BE": padded(excluded),
    }
    one, _ = one_by_one(Oracle(SIZES[name], 3).next_item(), trie, **search)
    at_once, _ = all_at_once(
        Oracle(SIZES[name], 3, listens=False).open_rows(len(codes) + 2), trie, **search
    )
    for items_BM in (one, at_once):
        for row, items in enumerate(as_lists(items_BM)):
            assert sorted(items) == sorted(known - set(excluded[row]))
            # What is missing is missing at the end.
            assert (items_BM[row, len(items) :] == -1).all()


def test_lists_exhausted_by_earlier_places_still_give_a_legal_item():
    # All places want the same two items, and the beam alone would hold no others.
    codes = worlds.codes_of(8, (2, 2, 2))
    trie = CodeTrie.from_codes(codes)
    liked = torch.tensor([5.0, 0.0])

    def step(prefix_RWl, parent_RW):
        return liked.expand(*prefix_RWl.shape[:2], 2)

    items_BM, scores_BM = all_at_once(lambda _: step, trie, num_rows=1, num_items=8, beam_width=2)
    assert items_BM[0, 0] == 0
    assert sorted(items_BM[0].tolist()) == list(range(8))
    assert scores_BM.isfinite().all()


def test_only_rows_whose_lists_were_too_short_are_searched_again():
    # Every place of the first row likes the same branch; places of the second take turns.
    trie = CodeTrie.from_codes(worlds.codes_of(8, (2, 4)))
    opened = []

    def open_rows(rows):
        opened.append(rows.tolist())

        def step(prefix_RWl, parent_RW):
            logits = torch.zeros(*prefix_RWl.shape[:2], 2 if prefix_RWl.shape[-1] == 0 else 4)
            if prefix_RWl.shape[-1] == 0:
                for number, row in enumerate(rows.tolist()):
                    for place in range(3):
                        logits[number * 3 + place, :, place % 2 if row else 0] = 9.0
            return logits

        return step

    items_BM, _ = all_at_once(open_rows, trie, num_rows=2, num_items=3, beam_width=2)
    assert opened == [[0, 1], [0]]
    assert all(len(set(items)) == 3 and -1 not in items for items in items_BM.tolist())


def test_slates_that_may_repeat_items_show_what_is_liked():
    trie = CodeTrie.from_codes(worlds.codes_of(8, (2, 2, 2)))
    liked = torch.tensor([0.0, 5.0])

    def step(prefix_BWl, parent_BW):
        return liked.expand(*prefix_BWl.shape[:2], 2)

    search = {"num_rows": 1, "num_items": 3, "beam_width": 2, "distinct": False}
    assert one_by_one(lambda _: step, trie, **search)[0].tolist() == [[7, 7, 7]]
    assert all_at_once(lambda _: step, trie, **search)[0].tolist() == [[7, 7, 7]]


def test_the_next_place_is_told_what_was_chosen():
    trie, told = CodeTrie.from_codes(worlds.codes_of(8, (2, 2, 2))), []

    def next_item(chosen_B):
        told.append(None if chosen_B is None else chosen_B.tolist())
        return lambda prefix_BWl, _: torch.zeros(*prefix_BWl.shape[:2], 2)

    items_BM, _ = one_by_one(next_item, trie, num_rows=2, num_items=3, beam_width=8)
    assert told == [None, items_BM[:, 0].tolist(), items_BM[:, 1].tolist()]


def test_a_catalogue_of_three_items_is_said_to_its_end():
    trie = CodeTrie.from_codes(np.array([[0, 0], [0, 1], [1, 0]]), num_codes=(64, 64))
    items_BM, _ = one_by_one(Oracle((64, 64), 1).next_item(), trie, num_rows=1, num_items=5,
                             beam_width=8)  # fmt: skip
    assert sorted(items_BM[0].tolist()) == [-1, -1, 0, 1, 2]
