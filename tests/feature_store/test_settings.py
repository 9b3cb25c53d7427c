import pytest
from pydantic import ValidationError

from feature_store.settings import Settings, _head_revision


def test_every_place_hangs_from_home_unless_it_is_named(tmp_path):
    settings = Settings(home=tmp_path)
    assert settings.resolved_warehouse == str(tmp_path / "warehouse")
    assert settings.resolved_catalog_uri == f"sqlite:///{tmp_path}/catalog.db"
    assert settings.runs_path == tmp_path / "runs"
    assert settings.data_path == tmp_path / "data"
    assert Settings(home=tmp_path, warehouse="s3://b/w").resolved_warehouse == "s3://b/w"


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SIDEREAL_CODE_REVISION", "abc")
    monkeypatch.setenv("SIDEREAL_LOCK_TIMEOUT_SECONDS", "2.5")
    assert Settings().resolved_code_revision == "abc"
    assert Settings().lock_timeout_seconds == 2.5
    monkeypatch.setenv("SIDEREAL_LOCK_TIMEOUT_SECONDS", "0")
    with pytest.raises(ValidationError, match="greater than 0"):
        Settings()


def test_the_code_revision_is_the_checkouts_head(tmp_path):
    git = tmp_path / ".git"
    assert _head_revision(tmp_path) == "unknown"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert _head_revision(tmp_path) == "unknown"
    (git / "packed-refs").write_text("# pack-refs\n111 refs/heads/main\n222 refs/heads/other\n")
    assert _head_revision(tmp_path) == "111"
    (git / "refs" / "heads" / "main").write_text("333\n")
    assert _head_revision(tmp_path) == "333"
    (git / "HEAD").write_text("444\n")
    assert _head_revision(tmp_path) == "444"
