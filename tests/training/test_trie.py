import numpy as np
import pytest
import torch

from training.decoding.trie import CodeTrie


def random_codes(num_items, sizes, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(size, size=num_items) for size in sizes], axis=1)


def test_every_item_is_behind_the_leaf_of_its_codes():
    codes = random_codes(5000, (16, 16, 16))  # 4,096 tuples: buckets are certain
    trie = CodeTrie.from_codes(codes)
    leaf = trie.lookup(torch.from_numpy(codes))
    assert (leaf >= 0).all()
    assert trie.num_leaves == len(np.unique(codes, axis=0))
    items = trie.items_of(leaf)
    assert items.shape == (5000, trie.largest_bucket)
    assert (items == torch.arange(5000).unsqueeze(1)).sum(1).eq(1).all()
    assert trie.largest_bucket == np.unique(codes, axis=0, return_counts=True)[1].max()


def test_codes_that_no_item_has_are_not_found():
    codes = random_codes(50, (8, 8, 8))
    trie = CodeTrie.from_codes(codes, num_codes=(8, 8, 8))
    every = torch.cartesian_prod(*[torch.arange(8)] * 3)
    found = trie.lookup(every) >= 0
    known = {tuple(code) for code in codes.tolist()}
    assert found.tolist() == [tuple(code) in known for code in every.tolist()]


def test_the_order_of_the_rows_does_not_matter():
    codes = random_codes(200, (8, 8, 8))
    shuffle = np.random.default_rng(1).permutation(200)
    one = CodeTrie.from_codes(codes)
    other = CodeTrie.from_codes(codes[shuffle], items=shuffle)
    assert torch.equal(one.slot_item, other.slot_item)
    assert all(
        torch.equal(a.first, b.first) and torch.equal(a.code, b.code)
        for a, b in zip(one.branches, other.branches, strict=True)
    )


def test_items_without_codes_are_left_out():
    trie = CodeTrie.from_codes(np.array([[1, 1], [-1, -1], [0, 1]]))
    assert trie.num_leaves == 2
    assert trie.item_slot.tolist() == [1, -1, 0]
    assert trie.items_of(torch.tensor([0, 1, -1])).tolist() == [[2], [0], [-1]]


def test_vocabularies_may_be_larger_than_the_codes_in_use():
    trie = CodeTrie.from_codes(np.array([[1, 1], [0, 1]]), num_codes=(4, 300))
    assert trie.num_codes == (4, 300)
    assert trie.lookup(torch.tensor([[3, 1], [1, 299]])).tolist() == [-1, -1]


def test_exhausted_nodes_are_those_with_nothing_left_below():
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 1]])
    trie = CodeTrie.from_codes(codes)
    seen = torch.tensor([[0, 1, 3, 1], [3, 4, 2, -1], [9, -1, 4, 0]])

    def gone(depth):
        return [
            node[there].tolist()
            for node, there in zip(depth.node_BE, depth.is_gone_BE, strict=True)
        ]

    first, leaves = trie.exhausted(seen)
    # Depth 1 has nodes 0 and 1, depth 2 the leaves 00, 01, 10, 11; the last one holds two items.
    assert gone(leaves) == [[0, 1], [2, 3], [0]]
    assert gone(first) == [[0], [1], []]
    assert leaves.parent_BE[leaves.is_gone_BE].tolist() == [0, 0, 1, 1, 0]


def test_depths_without_exhausted_nodes_cost_nothing():
    trie = CodeTrie.from_codes(np.array([[0, 0], [0, 1], [1, 0]]))
    first, leaves = trie.exhausted(torch.tensor([[0, -1]]))
    assert first is None
    assert leaves is not None
    assert trie.exhausted(torch.tensor([[-1, 77]])) == [None, None]
    assert trie.exhausted(torch.zeros((3, 0), dtype=torch.int64)) == [None, None]


def test_moving_to_a_device_keeps_the_tree():
    trie = CodeTrie.from_codes(random_codes(100, (4, 4, 4)))
    moved = trie.to("cpu")
    assert moved.device == torch.device("cpu")
    assert torch.equal(moved.branches[2].code, trie.branches[2].code)


def test_wrong_codes_are_refused():
    with pytest.raises(ValueError, match=r"codes have shape \[3\], expected \[items, levels\]"):
        CodeTrie.from_codes(np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="no item has a semantic ID"):
        CodeTrie.from_codes(np.array([[-1, -1]]))
    with pytest.raises(ValueError, match=r"largest codes are \[1, 5\], the vocabularies \[2, 5\]"):
        CodeTrie.from_codes(np.array([[1, 5]]), num_codes=(2, 5))
    with pytest.raises(ValueError, match="an item comes twice"):
        CodeTrie.from_codes(np.array([[1, 5], [1, 4]]), items=np.array([3, 3]))
