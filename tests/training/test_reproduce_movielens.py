import numpy as np
import pytest

from training.reproduce.movielens import read_movielens

ROWS = [("2", "10", "5", "30"), ("1", "7", "3", "20"), ("1", "30", "2.0", "10"),
        ("1", "10", "4", "20")]  # fmt: skip


def write(folder, name, delimiter, header=None):
    lines = [delimiter.join(row) for row in ROWS]
    text = "\n".join([header, *lines] if header else lines) + "\n"
    (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "delimiter", "header"),
    [
        ("ml-100k.inter", "\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
        ("u.data", "\t", None),
        ("ratings.dat", "::", None),
        ("ratings.csv", ",", "userId,movieId,rating,timestamp"),
    ],
)
def test_every_layout_gives_the_same_histories(tmp_path, name, delimiter, header):
    histories, num_items = read_movielens(write(tmp_path, name, delimiter, header))
    assert num_items == 3
    assert histories.user_ids.tolist() == ["1", "2"]
    assert histories.offsets.tolist() == [0, 3, 4]
    assert histories.items.tolist() == [2, 0, 1, 1]  # by time, then film
    assert histories.strengths.tolist() == [-1, 1, 2, 3]
    assert (histories.times // 1_000_000).tolist() == [10, 20, 20, 30]
    assert histories.items.dtype == np.int32 and histories.strengths.dtype == np.int8


def test_a_folder_without_ratings_says_what_was_looked_for(tmp_path):
    (tmp_path / "movies.dat").write_text("", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"found \['movies.dat'\], expected one of \['ml-1"):
        read_movielens(tmp_path)
    with pytest.raises(FileNotFoundError, match="found no folder"):
        read_movielens(tmp_path / "nowhere")
