import datetime as dt

from feature_store.store import Retention

DAY_1, DAY_2, DAY_3 = (dt.date(1998, 4, day) for day in (15, 16, 17))


def test_lineage_leads_from_a_snapshot_to_the_raw_files(shelf):
    shops = shelf.publish_shops("x", inputs={"raw": {"shops.csv": "sha256:aa"}}).snapshot_id
    head = shelf.publish(DAY_1, "a", inputs={"shops": shops, "encoder": "mini"})
    tree = shelf.store.lineage("clicks")
    assert tree["snapshot_id"] == head.snapshot_id
    assert (tree["job"], tree["rows"], tree["code_revision"]) == ("count_clicks", 1, "abc123")
    assert tree["inputs"]["encoder"] == "mini"
    assert tree["inputs"]["shops"]["snapshot_id"] == shops
    assert tree["inputs"]["shops"]["inputs"] == {"raw": {"shops.csv": "sha256:aa"}}


def test_a_tables_own_past_is_a_list_and_each_snapshot_is_told_once(shelf):
    shops = shelf.publish_shops("x").snapshot_id
    ids = []
    for day in (DAY_1, DAY_2, DAY_3):
        inputs = {"shops": shops, "raw": str(day)} | ({"clicks": ids[-1]} if ids else {})
        ids.append(shelf.publish(day, "a", inputs=inputs).snapshot_id)
    tree = shelf.store.lineage("clicks")
    assert [node["snapshot_id"] for node in tree["previous"]] == [ids[1], ids[0]]
    assert [node["inputs"]["raw"] for node in tree["previous"]] == ["1998-04-16", "1998-04-15"]
    assert tree["inputs"]["shops"]["rows"] == 1
    assert tree["previous"][0]["inputs"]["shops"] == {
        "table": "shops",
        "snapshot_id": shops,
        "seen": True,
    }


def test_lineage_of_a_version_that_has_expired_says_so(shelf):
    old = shelf.publish_shops("x").snapshot_id
    shelf.publish_shops("y", day=DAY_2)
    shelf.publish(DAY_1, "a", inputs={"shops": old})
    shelf.store.maintain(["shops"], Retention(keep_days=0, keep_snapshots=1))
    assert shelf.store.lineage("clicks", DAY_1)["inputs"]["shops"] == {
        "table": "shops",
        "snapshot_id": old,
        "expired": True,
    }
