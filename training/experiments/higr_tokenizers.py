"""HiGR's tokenizer (arXiv:2512.24787) against RQ-VAE and RQ-KMeans, without a generator.

A fifth of the items is shown to no fit. What is asked of such an item is whether it shares its
prefix with its nearest neighbour by embedding (`near`), and with items that the same people took to
(`together`). Large clusters agree by chance, so the lift over random pairs stands beside it; to
agree at the last level is to collide, so that it is read above it. The paper's own tables are not
public.
"""

from training.experiments.table import Fit, Row, Table

DEPTHS = (1, 2, 3)
"""Prefix lengths that are compared, as far as the preset has levels above the last."""
_SETTINGS = {
    "rq_kmeans": (),
    "rq_vae": ("sphere=false", "warmup_epochs=0", "epochs=40", "ema_decay=0.95"),
    "crq_vae": ("given_share=0.0",),
}
_METRICS = tuple(f"{source}_{depth}" for source in ("near", "together") for depth in DEPTHS)


def _fit(kind: str, settings: tuple[str, ...]) -> Fit:
    changes = (f"tokenizer.settings.{kind}.{setting}" for setting in settings)
    return Fit(of=kind, changes=(f"tokenizer.kind={kind}", *changes))


TABLE = Table(
    name="higr_tokenizers",
    says="CRQ-VAE, RQ-VAE and RQ-KMeans on items that no fit saw, before collisions are resolved",
    rows=tuple(
        Row(name=kind, fits=(_fit(kind, settings),)) for kind, settings in _SETTINGS.items()
    ),
    metrics=_METRICS,
    comparisons=(("crq_vae", "rq_kmeans"), ("crq_vae", "rq_vae")),
    compared=_METRICS,
    facts={
        "codes.unique": "unique",
        "codes.dead": "dead codes",
        "codes.largest_bucket": "largest bucket",
        "codes.gini": "Gini",
        **{f"lift.{name}": f"lift of {name}" for name in _METRICS},
        **{f"codes.purity_{depth}": "" for depth in DEPTHS},
        **{f"codes.residual_{depth}": "" for depth in (*DEPTHS, 4)},
        **{f"codes.entropy_{depth}": "" for depth in (*DEPTHS, 4)},
    },
    settings={"": ("tokenizer.vectors=text",)},
    reads=("item_embeddings", "item_cooccurrence"),
    presets=("movielens-100k", "amazon-office"),
    subject="tokenizers",
    unit="unseen items",
)
