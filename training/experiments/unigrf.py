"""UniGRF (arXiv:2504.16454): single-task and unified models, and the paper's ablations.

The last rating of each person, over the full catalogue, films already seen filtered out, as Meta's
code does; the paper does not say. Single-task rows have two models: one that retrieves, from a
sequence of films alone as in Meta's code, and one that ranks.
"""

from training.experiments.table import LEAVE_LAST_OUT, Budget, Fit, Published, Row, Table

METRICS = ("ndcg@10", "ndcg@50", "hr@10", "hr@50", "mrr", "auc")
_META = ("similarity=cosine", "loss=sampled", "num_negatives=128", "negatives=position")
_NO_ENHANCER = ("hard_negatives=0", "favourite_share=0")
_NO_WEIGHTER = ("weighter=off",)


def _of(family: str, *settings: str, loop: tuple[str, ...] = (), after: Fit | None = None) -> Fit:
    changes = [f"models.settings.{family}.{setting}" for setting in settings]
    changes += [f"training.overrides.{family}.{setting}" for setting in loop]
    return Fit(of=family, changes=tuple(changes), after=after)


def _retrieves(backbone: str) -> Fit:
    return _of("sasrec", f"backbone={backbone}", *_META)


def _ranks(backbone: str, after: Fit | None = None) -> Fit:
    settings = (f"backbone={backbone}", "tasks=ranking")
    return _of("unigrf", *settings, loop=("validation_metric=auc",), after=after)


def _interleaved(after: Fit | None = None) -> Fit:
    return _of("unigrf", "backbone=hstu", "tasks=retrieval", after=after)


def _both(*settings: str) -> Fit:
    return _of("unigrf", *settings)


_SINGLE = {
    "llama": (_retrieves("llama"), _ranks("llama")),
    "hstu": (_retrieves("hstu"), _ranks("hstu")),
}
_UNIFIED = {
    "unigrf-hstu": (_both("backbone=hstu"),),
    "unigrf-hstu-no-enhancer": (_both("backbone=hstu", *_NO_ENHANCER),),
    "unigrf-hstu-no-weighter": (_both("backbone=hstu", *_NO_WEIGHTER),),
    "unigrf-hstu-no-both": (_both("backbone=hstu", *_NO_ENHANCER, *_NO_WEIGHTER),),
    # What either task comes to alone, of the same line of tokens.
    "hstu-interleaved": (_interleaved(), _ranks("hstu")),
    "hstu-ft-a": (_ranks("hstu", after=_interleaved()),),
    "hstu-ft-b": (_interleaved(after=_ranks("hstu")),),
}

_PAPER = Published(
    source="the paper",
    preset="movielens-1m",
    figures={
        "sasrec": (0.1594, 0.2208, 0.2899, 0.5671, 0.1388, None),
        "llama": (0.1746, 0.2343, 0.3110, 0.5785, 0.1477, 0.7819),
        "hstu": (0.1708, 0.2314, 0.3132, 0.5862, 0.1431, 0.7621),
        "unigrf-llama": (0.1765, 0.2368, 0.3219, 0.5921, 0.1478, 0.7932),
        "unigrf-hstu": (0.1756, 0.2326, 0.3140, 0.5909, 0.1484, 0.7832),
        "unigrf-hstu-no-enhancer": (0.1717, 0.2318, 0.3117, 0.5824, 0.1446, 0.7815),
        "unigrf-hstu-no-weighter": (0.1734, 0.2317, 0.3199, 0.5824, 0.1441, 0.7582),
        "unigrf-hstu-no-both": (0.1681, 0.2276, 0.3113, 0.5824, 0.1392, 0.7293),
        "hstu-ft-a": (None, None, None, None, None, 0.7752),
        "hstu-ft-b": (0.1727, 0.2308, 0.3182, 0.5807, 0.1436, None),
    },
)
_META_FIGURES = Published(
    source="Meta",
    preset="movielens-1m",
    figures={
        "sasrec": (0.1603, 0.2185, 0.2853, 0.5474, None, None),
        "hstu": (0.1720, 0.2307, 0.3097, 0.5754, None, None),
        "hstu-large": (0.1893, 0.2481, 0.3294, 0.5935, None, None),
    },
)

TABLE = Table(
    name="unigrf",
    says="UniGRF's single-task and unified models and its ablations, on MovieLens",
    rows=tuple(
        Row(name=name, fits=fits)
        for name, fits in {
            "sasrec": (Fit(of="sasrec"),),
            **_SINGLE,
            "unigrf-llama": (_both("backbone=llama"),),
            **_UNIFIED,
        }.items()
    ),
    metrics=METRICS,
    comparisons=(("unigrf-llama", "llama"), *((name, "hstu") for name in _UNIFIED)),
    compared=("ndcg@10", "hr@10", "mrr", "auc"),
    # Ranks are exact up to the longest list, and a film beyond it counts nothing for MRR.
    settings={"": (*LEAVE_LAST_OUT, "evaluation.cutoffs=[10, 50, 2500]")},
    # As many epochs for one task alone as for both.
    budgets={
        "movielens-100k": Budget(max_epochs=20, patience_epochs=5, max_validation_targets=2000),
        "movielens-1m": Budget(max_epochs=100, patience_epochs=5, max_validation_targets=10000),
    },
    presets=("movielens-1m", "movielens-100k"),
    published=(_PAPER, _META_FIGURES),
)
