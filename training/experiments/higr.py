"""HiGR (arXiv:2512.24787): its decoder with one part changed at a time, and how it is aligned.

Held-out slates are asked for before their first exposure, under the preset's split. The flat
decoder has as many weights. ORPO, DPO and SimPO begin with the fits of `higr`, too. The paper's own
tables are of data that is not public.
"""

from training.experiments.table import Budget, Fit, Row, Table

FLAT = "flat decoder"
HIGR = Fit(of="higr")
_PARTS = {
    "codes alone": "learns=codes",
    "items alone": "learns=items",
    "latent feedback": "planner_feedback=latent",
}
_BASELINES = ("sasrec", "item_knn", "popularity")
_METHODS = {"ORPO": "orpo", "DPO": "dpo", "SimPO": "simpo"}
_SLATES = ("slates", "item_embeddings")
"""What slates are asked from, and what tells how alike their items are."""
_METRICS = ("slate_ndcg@5", "slate_gndcg@5", "slate_hit@5", "slate_recall@5")
_FACTS = {"slates.similarity": "similarity", "slates.coverage": "coverage"}
_BUDGETS = {
    "movielens-100k": Budget(max_epochs=20, patience_epochs=3, max_validation_targets=500),
    "kuairand": Budget(max_epochs=14, patience_epochs=3, max_validation_targets=1000),
}
_PRESETS = tuple(_BUDGETS)

_DECODER_ROWS = (
    Row(name="higr", fits=(HIGR,)),
    *(
        Row(name=name, fits=(Fit(of="higr", changes=(f"models.settings.higr.{change}",)),))
        for name, change in _PARTS.items()
    ),
    Row(name=FLAT, fits=(Fit(of="flat_slate", like="higr"),)),
    *(Row(name=family, fits=(Fit(of=family),)) for family in _BASELINES),
)
DECODER = Table(
    name="higr",
    says="HiGR's decoder with one part changed at a time, against a flat one of as many weights",
    rows=_DECODER_ROWS,
    metrics=_METRICS,
    comparisons=tuple((row.name, FLAT) for row in _DECODER_ROWS if row.name != FLAT),
    compared=_METRICS,
    facts={**_FACTS, "fit.parameters": "weights", "fit.tokens_per_second": "tokens/s"},
    budgets=_BUDGETS,
    reads=_SLATES,
    presets=_PRESETS,
)

ALIGNMENT = Table(
    name="higr_alignment",
    says="HiGR before and after its alignment by ORPO, DPO and SimPO, each from the same fits",
    rows=(
        Row(name="before", fits=(HIGR,)),
        *(
            Row(
                name=name,
                fits=(
                    Fit(
                        of="higr",
                        changes=(f"alignment.settings.method={method}",),
                        after=HIGR,
                        aligned=True,
                    ),
                ),
            )
            for name, method in _METHODS.items()
        ),
    ),
    metrics=_METRICS,
    comparisons=tuple((name, "before") for name in _METHODS),
    compared=_METRICS,
    facts={
        **_FACTS,
        "fit.preference_accuracy": "preference accuracy",
        "fit.chosen_log_prob": "chosen log p",
        "fit.repeats": "repeats",
        "fit.collapsed": "taken back",
    },
    budgets=_BUDGETS,
    reads=_SLATES,
    presets=_PRESETS,
)
