"""What docs/families.md shows works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests import worlds
from training import inference
from training.data.queries import queries_of
from training.data.splits import split_leave_last_out
from training.data.vocabulary import Vocabulary
from training.evaluation.ranking import auc
from training.fit.fitting import Fitting
from training.models import weights

PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"


@pytest.fixture(scope="module")
def family():
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    shown = {"__name__": "shown"}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), shown)
    return shown["FAMILY"]


def test_the_family_of_the_page_is_fitted_kept_and_asked(family, tmp_path):
    # Everybody likes the same items, but for one event in four.
    draw = np.random.default_rng(0)
    items = draw.integers(0, 10, (80, 12))
    strengths = np.where((items % 2 == 0) ^ (draw.random(items.shape) < 0.25), 2, 0)
    histories = worlds.histories_of(items.tolist(), strengths=strengths.tolist())
    split = split_leave_last_out(histories)
    config = family.configure({"prior": 1.0})
    model, _ = family.fit(split, config, Fitting(), Vocabulary(10), {})
    weights.save(model, tmp_path)
    loaded = weights.load(tmp_path, family)
    test = split.test
    [queries] = queries_of(test, max_history=5, exclude_seen=False)
    liked_B1 = inference.rank(loaded, queries, test.items[:, None])
    np.testing.assert_array_equal(liked_B1, inference.rank(model, queries, test.items[:, None]))
    assert auc(liked_B1[:, 0], test.histories.strengths[test.events] >= 2) > 0.65
    with pytest.raises(inference.Unanswerable, match="this liked answers feedback, not lists: ask"):
        inference.recommend(loaded, queries, 5)
