import pytest

from feature_store.settings import Settings
from tests.report_days import DAY
from training.report.brief import Brief
from training.report.opening import Link
from training.report.places import data_docs, links


def brief(day=DAY, **more):
    return Brief(day=str(day), kind="promoted", sentence=".", **more)


def test_a_first_day_leads_to_the_index_alone(tmp_path):
    found = links(Settings(home=tmp_path), "shop", DAY, [brief()])
    assert found == [Link(text="All runs", address="../index.html")]


def test_the_report_before_is_the_last_one_that_was_written(tmp_path):
    settings = Settings(home=tmp_path)
    page = settings.runs_of("shop") / "1998-04-17" / "report.html"
    page.parent.mkdir(parents=True)
    page.touch()
    days = ("1998-04-16", "1998-04-17", "1998-04-19")
    found = links(settings, "shop", DAY, [*(brief(day) for day in days), brief()])
    assert found[1] == Link(text="Report of 1998-04-17", address="../1998-04-17/report.html")


def test_data_docs_are_those_of_the_day(tmp_path):
    settings = Settings(home=tmp_path)
    for table, day in (("slates", "1998-04-20"), ("items", "1998-04-20"), ("items", "1998-04-19")):
        page = settings.data_docs_of("shop") / table / f"{day}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
    found = data_docs(settings, "shop", DAY)
    assert [(entry.text, entry.address) for entry in found] == [
        ("items", "../../../data_docs/shop/items/1998-04-20.html"),
        ("slates", "../../../data_docs/shop/slates/1998-04-20.html"),
    ]
    assert links(settings, "shop", DAY, [brief()])[-1].address == "#health"


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("http://mlflow:5000/", Link(text="Champion, version 7",
                                     address="http://mlflow:5000/#/models/shop/versions/7")),
        ("", Link(text="Champion, version 7", command="sidereal models list --preset shop")),
        ("http://me:secret@mlflow", Link(text="Champion, version 7",
                                         command="sidereal models list --preset shop")),
    ],
)  # fmt: skip
def test_the_champion_is_shown_by_mlflow_where_its_pages_are_known(tmp_path, address, link):
    settings = Settings(home=tmp_path, mlflow_tracking_uri=address)
    assert links(settings, "shop", DAY, [brief(version=7)])[-1] == link
