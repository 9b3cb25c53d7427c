"""The pages about presets and variables are those that the code makes."""

import re

import pytest
from click.testing import CliRunner

from feature_store.steps import dags, steps_of
from sidereal import architecture
from sidereal.architecture import architecture_page
from sidereal.cli import main
from sidereal.preset_reference import keys
from sidereal.reference import pages

PAGES = {path.name: (path, text) for path, text in pages().items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_current(name):
    path, text = PAGES[name]
    assert path.read_text() == text, "run `sidereal presets reference --write`"


def test_the_picture_has_every_step_in_the_box_of_its_dag_and_what_it_hands_on():
    text = architecture_page()
    for dag in dags():
        names = "".join(f"    {step.name}\n" for step in steps_of(dag))
        assert f"  subgraph {dag}\n{names}  end\n" in text
    assert "  build_slates -- slates --> build_preference_pairs\n" in text
    line = "align_recommender, train_baselines → blend_recommenders → evaluate_recommender"
    assert f"train_recommender → align_recommender; {line}" in text


def test_an_architecture_without_its_markers_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(architecture, "PAGE", tmp_path / "ARCHITECTURE.md")
    architecture.PAGE.write_text("# Architecture\n")
    with pytest.raises(ValueError, match=r"holds no part between .* put them back"):
        architecture_page()


def test_every_key_says_what_it_means():
    assert [key.path for key in keys() if not key.meaning and key.path != "source.layout"] == []


def test_a_key_is_told_with_its_type_bounds_default_and_meaning():
    text = CliRunner().invoke(main, ["presets", "reference"]).output
    assert "| `max_guard_loss` | number, at least 0 | `0.05` | Largest loss tolerated" in text
    assert "| `path` | text | **must be there** | " in text
    assert "### `models.settings.unigrf`" in text
    assert len(re.findall(r"^\| `", text, re.M)) > 250
