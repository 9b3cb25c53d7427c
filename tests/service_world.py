"""Small fitted champions of several families, and the service over them, in one process."""

from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import torch
from fastapi.testclient import TestClient

from tests.recommender_world import (
    DAY,
    ITEM_IDS,
    NUM_ITEMS,
    NUM_KINDS,
    catalogue,
    histories,
    trained_bundle,
)
from training.data.histories import Histories
from training.data.splits import split_rolling
from training.data.vocabulary import Vocabulary
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS, weights
from training.registry.bundle import Origin, generation_digest, write_bundle
from training.service.app import Service, make_app
from training.service.batches import Limits
from training.service.follow import Follower
from training.service.kept import KeptAnswers
from training.service.metrics import Metrics
from training.service.withheld import WithheldFile
from training.tokenizers.rq_kmeans import RqKMeans

SMALL = {"width": 16, "num_layers": 1}
LOOP = LoopSettings(max_epochs=2, max_history=20)
LEVELS = 2


def bundle_of(family, directory, *, seed=0):
    """A bundle of the family, fitted in a second or two."""
    if family == "tiger":
        return tiger_bundle(directory, seed=seed)
    neural = {"settings": SMALL, "loop": LOOP} if family == "unigrf" else {}
    return trained_bundle(directory, family, opinions=True, seed=seed, **neural)


def tiger_bundle(directory, *, seed=0):
    """tiger over semantic IDs whose first code is the item's kind."""
    tokenizer = RqKMeans.fit(
        torch.eye(4), RqKMeans.config_from({"num_levels": LEVELS, "codebook_size": 2})
    )
    generation = f"{DAY}-{generation_digest(tokenizer.digest, 'suffix')}"
    index = np.arange(NUM_ITEMS)
    codes_VQ = np.stack([index % NUM_KINDS, index // NUM_KINDS], axis=1).astype(np.int32)
    rows = Histories.from_arrow(histories(DAY, seed))
    split = split_rolling(rows, DAY, holdout_days=7, validation_days=2)
    model, report = MODELS["tiger"].fit(
        split,
        MODELS["tiger"].configure(SMALL),
        Fitting(LOOP),
        Vocabulary(NUM_ITEMS, codes_VQ, generation, np.zeros((NUM_ITEMS, 4), np.float32)),
    )
    saved = directory.with_name(f"{directory.name}-tokenizer")
    tokenizer.save(saved)
    return write_bundle(
        directory,
        origin=Origin(
            family="tiger",
            preset="world",
            day=DAY.isoformat(),
            code_revision="0" * 40,
            inputs={"user_sequences": {"snapshot_id": 1, "content_hash": f"seed {seed}"}},
            generation=generation,
        ),
        items=catalogue(),
        documents={
            "split": dict(split.facts),
            "config": {"training": {"max_history": 20, "minimum_strength": -1}},
            "training": {"epochs": report.epochs, "seconds": 1.5},
        },
        save_model=lambda folder: weights.save(model, folder),
        semantic_ids=pa.table(
            {
                "generation": [generation] * NUM_ITEMS,
                "item_id": ITEM_IDS,
                "item_index": pa.array(index, pa.int32()),
                "codes": pa.array(codes_VQ.tolist(), pa.list_(pa.int32())),
            }
        ),
        tokenizer=saved,
    )


def register(task, bundle):
    """The version of a bundle; nobody promotes it."""
    day, family = DAY.isoformat(), bundle.family
    with task.registry.run(day=day, step="train_recommender", family=family) as run:
        run.log_candidate(bundle)
    return task.registry.register(task.registry.find_candidate(day, family))


def follower_of(task, withheld=None, metrics=None):
    """Who looks at a task's home; it looks when it is told to."""
    file = None if withheld is None else WithheldFile(withheld)
    return Follower(task.settings, task.config, metrics or Metrics(), file)


def service_of(follower, limits=None, kept=0):
    """A service over what a follower holds."""
    return Service(follower, limits or Limits(), KeptAnswers(kept))


@contextmanager
def asking(follower, limits=None, token="", kept=0):
    """A client of a service that runs in this process."""
    service = service_of(follower, limits, kept)
    with TestClient(make_app(service, token)) as client:
        client.service = service
        yield client
