"""What a family of semantic IDs gains by each of its parts: who says an item, and what IDs know.

`codes` and `items` learn one of the two heads; `… of both` answer by one of them, learnt together.
Tokenizers read text, who engaged with what before the held-out events, or both; two items with the
same codes are told apart by moving one to the nearest free code, or by a level more. A fit keeps
the average of its weights over the latest steps, or the weights of an epoch's last step.
"""

from training.experiments.baselines import TABLE as BASELINES
from training.experiments.table import LEAVE_LAST_OUT, Fit, Row, Table

WHOLE = "both heads, text and collaborative"


def _row(name: str, *changes: str) -> Row:
    return Row(name=name, fits=(Fit(of="tiger", changes=changes),))


_SHAPE = "models.settings.tiger"
_ROWS = (
    _row(WHOLE),
    _row("codes alone", f"{_SHAPE}.learns=codes", f"{_SHAPE}.answer=codes"),
    _row("items alone", f"{_SHAPE}.learns=items", f"{_SHAPE}.answer=items"),
    _row("codes of both", f"{_SHAPE}.answer=codes"),
    _row("items of both", f"{_SHAPE}.answer=items"),
    _row("text", "tokenizer.vectors=text"),
    _row("collaborative", "tokenizer.vectors=collaborative"),
    _row("colliding codes get a level", "tokenizer.collisions=suffix"),
    _row("on Llama", f"{_SHAPE}.backbone=llama"),
    _row("last weights, no average", "training.weight_average_decay=0"),
)

TABLE = Table(
    name="semantic_ids",
    says="tiger with one part changed at a time: heads, what semantic IDs know, backbone, average",
    rows=_ROWS,
    metrics=("ndcg@10", "hr@10", "ndcg@50", "hr@50"),
    comparisons=tuple((WHOLE, row.name) for row in _ROWS if row.name != WHOLE),
    compared=("ndcg@10", "hr@10"),
    facts={"fit.parameters": "weights", "fit.tokens_per_second": "tokens/s"},
    settings={"": (*LEAVE_LAST_OUT, "evaluation.cutoffs=[5, 10, 50]")},
    budgets=BASELINES.budgets,
)
