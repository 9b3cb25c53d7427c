import datetime as dt

from feature_store.run_record import read_steps, write_step

DAY = dt.date(1998, 4, 15)


def test_records_are_read_back_by_step(tmp_path):
    write_step(tmp_path, DAY, "embed_items", {"seconds": 1.5, "day": DAY})
    write_step(tmp_path, DAY, "build_items", {"rows": 3})
    assert read_steps(tmp_path, DAY) == {
        "build_items": {"rows": 3},
        "embed_items": {"day": "1998-04-15", "seconds": 1.5},
    }
    assert read_steps(tmp_path, dt.date(1998, 4, 16)) == {}


def test_a_record_is_replaced_as_a_whole(tmp_path):
    write_step(tmp_path, DAY, "embed_items", {"rows": 3, "share": 0.5})
    path = write_step(tmp_path, DAY, "embed_items", {"rows": 4})
    assert read_steps(tmp_path, DAY) == {"embed_items": {"rows": 4}}
    assert [file.name for file in path.parent.iterdir()] == ["embed_items.json"]
