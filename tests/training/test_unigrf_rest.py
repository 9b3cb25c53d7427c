from training.models.unigrf.rest import Rest


def noted(*values, error=0.01, patience=2):
    rest = Rest()
    begun = []
    for auc in values:
        rest.note(auc, error, patience)
        begun.append(rest.has_begun)
    return begun


def test_ranking_rests_where_its_auc_has_not_risen_for_so_long():
    assert noted(0.7, 0.78, 0.77, 0.775) == [False, False, False, True]


def test_a_better_epoch_begins_the_count_anew():
    assert noted(0.7, 0.69, 0.71, 0.7, 0.72) == [False] * 5


def test_it_rests_for_good():
    assert noted(0.7, 0.69, 0.68, 0.9) == [False, False, True, True]


def test_patience_is_not_lost_before_anything_is_learnt():
    assert noted(0.51, 0.5, 0.505, 0.5) == [False] * 4
    assert noted(0.51, 0.5, 0.505, 0.5, error=0.001) == [False, False, True, True]


def test_what_is_remembered_goes_on_elsewhere():
    one, other = Rest(), Rest()
    one.note(0.7, 0.01, 2)
    one.note(0.6, 0.01, 2)
    other.restore(one.state())
    assert other.end_epoch(lambda values: values) == {"ranking_rests": 0.0}
    for rest in (one, other):
        rest.note(0.65, 0.01, 2)
        assert rest.has_begun
    again = Rest()
    again.restore(one.state())
    assert again.end_epoch(lambda values: values) == {"ranking_rests": 1.0}
