"""How a model is asked: in rows that fit into memory, each history read once for all questions.

A model says how many rows it reads and answers at once; nobody else knows of its memory. What it
can't answer is refused here, for every family in the same words.

B queries, L events, C candidates, k places in a list.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from training.data.queries import PAD, Queries, TopK
from training.settings.spec import Question

if TYPE_CHECKING:
    from training.models.interface import Model, Ranks, Recommends, State


class Unanswerable(ValueError):
    """A question that a model does not answer."""


def require(model: "Model", *questions: Question) -> None:
    """Refuse questions that a model can't be asked.

    Raises:
        Unanswerable: names what it was asked, and what it answers.
    """
    refused = [question for question in questions if question not in model.answers]
    if refused:
        raise Unanswerable(
            f"this {model.family} answers {' and '.join(sorted(model.answers))}, not"
            f" {' and '.join(refused)}: ask another model, or train one for it"
        )


def states(
    model: "Model", queries: Queries, *, k: int = 0, num_candidates: int = 0
) -> Iterator[tuple[slice, "State"]]:
    """The queries, read in turn, some rows at a time; and which rows.

    Args:
        model: reads them.
        queries: the B questions.
        k: places that will be asked for; 0: none.
        num_candidates: candidates of each row that will be ranked; 0: none.
    """
    rows = model.rows_at_once(queries, k, num_candidates)
    for start in range(0, len(queries), rows):
        part = queries.rows(start, start + rows)
        yield slice(start, start + len(part)), model.read(part)


def recommend(model: "Model", queries: Queries, k: int) -> TopK:
    """The k best items for each context.

    Raises:
        Unanswerable: the model does not recommend.
    """
    require(model, "lists")
    recommends = cast("Recommends", model)
    parts = [recommends.recommend(state, k) for _, state in states(model, queries, k=k)]
    return TopK.concatenate([TopK.empty(k), *parts])


def rank(model: "Model", queries: Queries, items_BC: np.ndarray) -> np.ndarray:
    """Probability of positive feedback for each candidate, float32, [B, C].

    Args:
        model: ranks.
        queries: the B histories.
        items_BC: as `Ranks.rank` takes them.
    Raises:
        Unanswerable: the model does not rank.
        ValueError: rows are not as many as queries.
    """
    require(model, "feedback")
    _require_rows(queries, items_BC)
    ranks, num_candidates = cast("Ranks", model), items_BC.shape[1]
    parts = [
        ranks.rank(state, items_BC[rows])
        for rows, state in states(model, queries, num_candidates=num_candidates)
    ]
    return np.concatenate([_no_probabilities(num_candidates), *parts])


def recommend_and_rank(
    model: "Model", queries: Queries, k: int, items_BC: np.ndarray
) -> tuple[TopK, np.ndarray]:
    """What `recommend` and `rank` answer, with each history read once.

    Raises:
        Unanswerable: the model does not do both.
        ValueError: rows are not as many as queries.
    """
    require(model, "lists", "feedback")
    _require_rows(queries, items_BC)
    lists, probabilities = [TopK.empty(k)], [_no_probabilities(items_BC.shape[1])]
    for rows, state in states(model, queries, k=k, num_candidates=items_BC.shape[1]):
        lists.append(cast("Recommends", model).recommend(state, k))
        probabilities.append(cast("Ranks", model).rank(state, items_BC[rows]))
    return TopK.concatenate(lists), np.concatenate(probabilities)


def recommend_ranked(model: "Model", queries: Queries, k: int, num_candidates: int) -> TopK:
    """Of the items most likely to come next, those most likely to be liked.

    Args:
        model: recommends and ranks.
        queries: the B histories, each read once.
        k: places of a list.
        num_candidates: items that are recommended and put into order; as many as there are, and
            at least k.
    Returns:
        Scores are probabilities of positive feedback; equal ones keep the order of recommending.
    Raises:
        Unanswerable: the model does not do both.
    """
    require(model, "lists", "feedback")
    num_candidates = max(k, num_candidates)
    parts = [TopK.empty(k)]
    for _, state in states(model, queries, k=num_candidates, num_candidates=num_candidates):
        offered = cast("Recommends", model).recommend(state, num_candidates)
        # No row offers more: a short catalogue is not ranked in empty places.
        width = max(k, int((offered.items_Bk != PAD).sum(axis=1).max(initial=0)))
        items_BC = offered.items_Bk[:, :width]
        liked_BC = cast("Ranks", model).rank(state, items_BC)
        liked_BC = np.where(items_BC == PAD, -np.inf, liked_BC).astype(np.float32)
        order_Bk = np.argsort(-liked_BC, axis=1, kind="stable")[:, :k]
        parts.append(
            TopK(
                np.take_along_axis(items_BC, order_Bk, 1),
                np.take_along_axis(liked_BC, order_Bk, 1),
            )
        )
    return TopK.concatenate(parts)


def _no_probabilities(num_candidates: int) -> np.ndarray:
    return np.empty((0, num_candidates), dtype=np.float32)


def _require_rows(queries: Queries, items_BC: np.ndarray) -> None:
    if len(items_BC) != len(queries):
        raise ValueError(f"{len(items_BC)} rows of candidates for {len(queries)} queries")
