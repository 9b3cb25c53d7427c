"""What a generation reads of its items, by `tokenizer.vectors`; and what each choice is worth.

Who took to an item counts only as far as weights may know: `collaborative_vectors` is held against
the split before anything is learnt from it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from feature_store.steps import run_first
from training.data.splits import Split
from training.evaluation.item_vectors import is_unseen, nearer_than_random, pairs_met
from training.programs.day_inputs import split_histories
from training.programs.interface import Facts, Task
from training.programs.item_halves import CollaborativeVectors, ItemHalves
from training.programs.item_vectors import ItemVectors
from training.registry.records import TokenizerRecord
from training.tokenizers.item_space import ItemSpace

_LEAST_PAIRS = 20
"""Pairs below which nothing is said of vectors."""


@dataclass(frozen=True)
class TokenizerInput:
    """What a tokenizer is fitted on.

    Attributes:
        vectors: of every item that has something to read.
        space: how its halves were joined; None: content alone is read.
        facts: what was asked for and read, the border, what each choice is worth, alarms.
    """

    vectors: ItemVectors
    space: ItemSpace | None
    facts: Facts


def tokenizer_input(
    task: Task,
    content: ItemVectors,
    current: TokenizerRecord | None = None,
    known: Facts | None = None,
) -> TokenizerInput:
    """The day's.

    Args:
        task: preset and tables.
        content: the day's vectors of content.
        current: the generation before.
        known: its facts.
    Raises:
        ProgramError: `collaborative_vectors` know of events that are held out.
    """
    asked = task.config.tokenizer.vectors
    people = None if asked == "text" else task.tables.collaborative(task.day)
    facts: Facts = {"asked": asked, "read": asked, "border": None, "worth": {}, "alarms": []}
    if people is None:
        facts["read"] = "text"
        if asked != "text":
            facts["alarms"] = [_nobody(task, asked)]
        return TokenizerInput(content, None, facts)
    split = split_histories(task.tables.histories(), task.day, task.config.evaluation)
    people.refuse_leak(split.train)
    halves = ItemHalves.of(content, people)
    earlier = _earlier(task, current, known or {}, people.vectors.embeddings_ND.shape[1])
    spaces = {
        name: halves.space(reads_content=name == "both", earlier=earlier)
        for name in ("collaborative", "both")
    }
    facts["border"] = border(task, split) | {"events": people.num_events}
    facts["items_taken_to"] = len(people.num_users)
    facts["turned_to"] = current.generation if current and earlier is not None else ""
    facts["worth"] = _worth(split, content, {n: halves.read_by(s) for n, s in spaces.items()})
    return TokenizerInput(halves.read_by(spaces[asked]), spaces[asked], facts)


def border(task: Task, split: Split) -> Facts:
    """Up to where a generation of the day learns from events."""
    protocol = task.config.evaluation.protocol
    return {"protocol": protocol, "trained_until": split.facts.get("train_until", "")}


def read_under(
    task: Task, space: ItemSpace | None, content: ItemVectors, trained: Facts
) -> ItemVectors:
    """What a generation's tokenizer reads of a day's catalogue.

    Args:
        task: preset and tables.
        space: of the tokenizer.
        content: the day's vectors of content.
        trained: facts of the generation: an item that nobody had taken to when it was made has
            the collaborative half that its content lets expect.
    """
    if space is None:
        return content
    people = task.tables.collaborative(task.day.fromisoformat(trained["trained_day"]))
    if people is None:
        width = space.turn_CC.shape[0]
        nobody = ItemVectors("collaborative", np.zeros(0, np.int64), torch.zeros(0, width))
        people = CollaborativeVectors(nobody, np.zeros(0, np.int64))
    return ItemHalves.of(content, people).read_by(space)


def why_stale(task: Task, vectors: Facts) -> str:
    """Why a generation's vectors can't serve on; empty where they can.

    Args:
        task: preset and tables.
        vectors: facts of the generation's input.
    """
    if vectors["border"] is None:
        if vectors["asked"] == "text" or task.tables.collaborative(task.day) is None:
            return ""
        return "it was made of content alone for want of events, and there are some now"
    split = split_histories(task.tables.histories(), task.day, task.config.evaluation)
    return what_it_may_not_know(task, split, vectors)


def what_it_may_not_know(task: Task, split: Split, vectors: Facts) -> str:
    """What a generation knows of events that a split holds out; empty where nothing.

    Args:
        task: preset and tables.
        split: of the day's histories.
        vectors: facts of the generation's input.
    """
    if vectors["border"] is None:
        return ""
    today, then = border(task, split), vectors["border"]
    if today["protocol"] != then["protocol"]:
        return f"it knows what evaluation.protocol {today['protocol']} holds out"
    if then["trained_until"] > today["trained_until"]:
        return (
            f"it knows of events up to {then['trained_until']}, and those from "
            f"{today['trained_until']} on are held out now"
        )
    return ""


def _nobody(task: Task, asked: str) -> str:
    return (
        f"tokenizer.vectors is {asked}, but 'collaborative_vectors' has no rows for {task.day}: "
        "nobody took to anything that may be learnt from. The codes are made of content alone; "
        f"after more days, {run_first('collaborative_vectors')}"
    )


def _earlier(
    task: Task, current: TokenizerRecord | None, known: Facts, width: int
) -> ItemVectors | None:
    """The collaborative half of the current generation's items; None where it kept none."""
    if current is None or known.get("vectors", {}).get("read", "text") == "text":
        return None
    rows = task.tables.published_ids(current.generation)
    if rows is None or rows["vector"].null_count:
        return None
    read = ItemVectors.from_arrow(current.generation, rows, column="vector")
    if read.embeddings_ND.shape[1] < width:
        return None
    return ItemVectors(read.encoder, read.item_indices, read.embeddings_ND[:, -width:])


def _worth(
    split: Split, content: ItemVectors, joined: dict[str, ItemVectors]
) -> dict[str, dict[str, Any]]:
    """By choice, how often the next item of a validation event is nearer than a random one."""
    pairs_P2 = pairs_met(split.validation)
    unseen_P = is_unseen(pairs_P2, split.train) if len(pairs_P2) else np.zeros(0, bool)
    found: dict[str, dict[str, Any]] = {}
    for name, vectors in {"text": content, **joined}.items():
        has_both_P = np.isin(pairs_P2, vectors.item_indices).all(1)
        measured: dict[str, Any] = {}
        for which, chosen_P in (("met", has_both_P), ("unseen", has_both_P & unseen_P)):
            chosen_P2 = np.searchsorted(vectors.item_indices, pairs_P2[chosen_P])
            measured[f"pairs_{which}"] = len(chosen_P2)
            if len(chosen_P2) >= _LEAST_PAIRS:
                measured[which] = nearer_than_random(
                    vectors.embeddings_ND, torch.from_numpy(chosen_P2)
                )
        found[name] = measured
    return found
