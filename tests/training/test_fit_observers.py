from training.programs.fit_observers import LineObserver, RunObserver


class Run:
    """Keeps what is logged."""

    def __init__(self):
        self.points, self.waiting = [], []

    def log(self, values, *, step):
        self.waiting.append((step, dict(values)))

    def flush(self):
        self.points += self.waiting
        self.waiting = []


def test_a_resumed_fit_logs_the_epochs_it_has_behind_it():
    run = Run()
    observer = RunObserver(run)
    observer.on_start("sasrec", 5, [{"epoch": 1, "loss": 3.0}])
    observer.on_epoch({"epoch": 2, "loss": 2.0})
    assert run.points == [(1, {"loss": 3.0}), (2, {"loss": 2.0})]


def lines_of(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_line_says_whose_fit_it_is_how_far_and_what_is_left(caplog):
    caplog.set_level("INFO")
    times = iter([100.0, 101.0, 110.0])
    observer = LineObserver(clock=lambda: next(times))
    observer.on_start("tiger", 5, [])
    observer.on_step(0, 1, 40, 6.25)
    observer.on_epoch({"epoch": 1, "loss": 6.0, "validation": 0.0612})
    observer.on_step(1, 1, 40, 5.5)
    assert lines_of(caplog) == [
        "tiger: training for at most 5 epochs",
        "tiger: epoch 1 of 5, step 1 of 40, loss 6.250, at most 3 min left",
        "tiger: epoch 2 of 5, step 1 of 40, loss 5.500, validation 0.0612, at most 13 min left",
    ]
    assert [getattr(record, "is_progress", False) for record in caplog.records] == [
        False,
        True,
        True,
    ]


def test_a_fit_that_goes_on_says_so(caplog):
    caplog.set_level("INFO")
    LineObserver().on_start("tiger", 5, [{"epoch": 1}, {"epoch": 2}])
    assert lines_of(caplog) == ["tiger: training for at most 5 epochs, going on after 2 of them"]
