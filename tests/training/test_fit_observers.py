from rich.console import Console

from training.programs.fit_observers import RunObserver, TerminalObserver


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


def test_the_bar_says_whose_fit_it_is_and_how_far():
    with TerminalObserver() as terminal:
        terminal.on_start("tiger", 5, [])
        terminal.on_epoch({"epoch": 1, "validation": 0.0612})
        terminal.on_step(1, 3, 40, 6.25)
        (task,) = terminal._bar.tasks
        assert task.description == "tiger epoch 2/5"
        assert (task.completed, task.total) == (3, 40)
        console = Console(width=120, record=True)
        console.print(terminal._bar.make_tasks_table([task]))
    assert "loss 6.250 · validation 0.0612" in console.export_text()


def test_without_a_terminal_nothing_is_drawn(capsys):
    with TerminalObserver() as terminal:
        terminal.on_start("tiger", 5, [])
        terminal.on_step(0, 1, 2, 6.0)
    assert capsys.readouterr().err.strip() == ""
