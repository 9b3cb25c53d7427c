"""Small synthetic worlds whose right answer is known by construction; training must find it."""

from dataclasses import dataclass, replace

import numpy as np

from training.data.histories import Histories
from training.data.preferences import Pairs
from training.data.slate_splits import SlateSplit, split_slates_leave_last_out
from training.data.slates import Slates, events_before
from training.data.splits import Split, split_leave_last_out
from training.data.vocabulary import Vocabulary

SECOND = 1_000_000


def histories_of(sequences, *, start=0, strengths=None):
    """Histories of lists of items; user n is `u00n`, events a second apart, strength 1 or given."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    items = np.array([item for sequence in sequences for item in sequence], dtype=np.int32)
    times = [start + place * SECOND for length in lengths for place in range(length)]
    return Histories(
        user_ids=np.array([f"u{number:03d}" for number in range(len(sequences))], dtype=object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=items,
        strengths=(
            np.ones(len(items), dtype=np.int8)
            if strengths is None
            else np.array([s for row in strengths for s in row], dtype=np.int8)
        ),
        times=np.array(times, dtype=np.int64),
    )


def codes_of(num_items, sizes=(4, 4, 4)):
    """Distinct codes: item n written in the number system of the level sizes."""
    codes = np.stack(np.unravel_index(np.arange(num_items), sizes), axis=1)
    return codes.astype(np.int32)


def vocabulary_of(num_items):
    """A catalogue with distinct codes, and a direction of its own for every item."""
    vectors_VD = np.random.default_rng(0).standard_normal((num_items, 12)).astype(np.float32)
    return Vocabulary(num_items, codes_of(num_items), "world", vectors_VD)


@dataclass(frozen=True)
class World:
    """A split, its vocabulary, and the HR@1 of whoever knows how the world was made."""

    split: Split
    vocabulary: Vocabulary
    best_hit_rate: float
    slates: SlateSplit | None = None

    @property
    def data(self):
        """What families read beside histories and catalogue."""
        return {} if self.slates is None else {"slates": self.slates}


def _world(sequences, num_items, best_hit_rate, strengths=None):
    split = split_leave_last_out(histories_of(sequences, strengths=strengths))
    return World(split, vocabulary_of(num_items), best_hit_rate)


def chain(*, num_users=300, length=24, num_items=30, certainty=0.9, seed=0):
    """The next item is one more than the last, but for one time in ten: then it is any item."""
    generator = np.random.default_rng(seed)
    items = generator.integers(0, num_items, (num_users, length))
    for place in range(1, length):
        follows = generator.random(num_users) < certainty
        items[follows, place] = (items[follows, place - 1] + 1) % num_items
    return _world(items.tolist(), num_items, certainty + (1 - certainty) / num_items)


def taste(*, num_users=300, length=24, num_items=30, certainty=0.9, seed=0):
    """The chain's items; an item is one half's delight and the other half's dislike.

    Items come in fives that are liked by the users of even and of odd number in turn, so only the
    history says whether an item will be: of itself, half of all people like it.
    """
    items = chain(
        num_users=num_users, length=length, num_items=num_items, certainty=certainty, seed=seed
    ).split.test.histories.items.reshape(num_users, length)
    likes = (items // 5 + np.arange(num_users)[:, None]) % 2 == 0
    strengths = np.where(likes, 2, 0)
    best = certainty + (1 - certainty) / num_items
    return _world(items.tolist(), num_items, best, strengths.tolist())


def echo(*, num_users=300, length=24, num_items=30, delay=3, certainty=0.9, seed=0):
    """The next item is one more than that of `delay` events ago; the last one says nothing."""
    generator = np.random.default_rng(seed)
    items = generator.integers(0, num_items, (num_users, length))
    for place in range(delay, length):
        follows = generator.random(num_users) < certainty
        items[follows, place] = (items[follows, place - delay] + 1) % num_items
    return _world(items.tolist(), num_items, certainty + (1 - certainty) / num_items)


def crowd(*, num_users=300, length=10, num_items=30, seed=0):
    """Everybody draws from one distribution, item 0 most often: popularity is the right answer."""
    generator = np.random.default_rng(seed)
    share = 0.7 ** np.arange(num_items)
    items = generator.choice(num_items, (num_users, length), p=share / share.sum())
    return _world(items.tolist(), num_items, float(share[0] / share.sum()))


def tribes(*, num_users=200, items_per_tribe=12, num_tribes=3, length=8, seed=0):
    """Each user meets distinct items of one tribe in any order: neighbourhood is the answer."""
    generator = np.random.default_rng(seed)
    sequences = []
    for user in range(num_users):
        own = generator.permutation(items_per_tribe)[:length] + items_per_tribe * (
            user % num_tribes
        )
        sequences.append(own.tolist())
    best = 1 / (items_per_tribe - length + 1)
    return _world(sequences, items_per_tribe * num_tribes, best)


def slates_of(shown, histories, *, users=None, starts, strengths=None, dwell=None):
    """Slates of lists of items; slate n is `s00n`, a second per item from `starts[n]` on."""
    lengths = np.array([len(items) for items in shown], dtype=np.int64)
    user = np.arange(len(shown)) if users is None else np.array(users)
    started_at = np.array(starts, dtype=np.int64) * SECOND

    def flat(rows, default, dtype):
        rows = [[default] * len(items) for items in shown] if rows is None else rows
        return np.array([value for row in rows for value in row], dtype=dtype)

    return Slates(
        histories=histories,
        ids=np.array([f"s{number:03d}" for number in range(len(shown))], dtype=object),
        user=user,
        position=events_before(histories, user, started_at),
        started_at=started_at,
        ended_at=started_at + np.maximum(lengths - 1, 0) * SECOND,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=flat(shown, 0, np.int32),
        strengths=flat(strengths, 1, np.int8),
        dwell=flat(dwell, np.nan, np.float32),
    )


def continued(
    *,
    num_users=300,
    num_slates=3,
    length=12,
    slate_size=4,
    num_items=30,
    certainty=0.9,
    seed=0,
):
    """A history is a chain as in `chain`; its end are slates, one after the other, that go on so.

    `best_hit_rate` is that of a slate's first item; each later one is as certain as the one before.
    """
    generator = np.random.default_rng(seed)
    total = length + num_slates * slate_size
    items = generator.integers(0, num_items, (num_users, total))
    for place in range(1, total):
        follows = generator.random(num_users) < certainty
        items[follows, place] = (items[follows, place - 1] + 1) % num_items
    histories = histories_of(items.tolist())
    begins = length + slate_size * np.arange(num_slates)
    shown = [row[begin : begin + slate_size].tolist() for row in items for begin in begins]
    slates = slates_of(
        shown,
        histories,
        users=np.repeat(np.arange(num_users), num_slates),
        starts=np.tile(begins, num_users),
    )
    vocabulary = vocabulary_of(num_items)
    return World(
        split_leave_last_out(histories),
        vocabulary,
        certainty + (1 - certainty) / num_items,
        split_slates_leave_last_out(slates),
    )


def pairs_of(slates, *, seed=0):
    """The slates of a world against their items in another order, or against other items."""
    generator = np.random.default_rng(seed)
    rejected = slates.items.copy()
    for first, last in zip(slates.offsets[:-1], slates.offsets[1:], strict=True):
        rejected[first:last] = generator.permutation(rejected[first:last])
    others = np.arange(len(slates)) % 2 == 1
    rejected[others[slates.slates]] = (rejected[others[slates.slates]] + 11) % 30
    return Pairs(slates, rejected, np.where(others, "interest", "ranking"))


def together(one, two):
    """Pairs of both."""
    first, second = one.chosen, two.chosen
    names = ("ids", "user", "position", "started_at", "ended_at", "items", "strengths", "dwell")
    joined = {n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in names}
    offsets = np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]])
    chosen = replace(first, offsets=offsets, **joined)
    return Pairs(
        chosen,
        np.concatenate([one.rejected, two.rejected]),
        np.concatenate([one.kinds, two.kinds]),
    )
