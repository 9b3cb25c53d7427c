"""What a model of sections can't say about training's part of a preset: what depends on what."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from feature_store.preset import Rule
from feature_store.preset_problems import Problem, near, one_of, shown
from training.checks.preset_rules import problems_of
from training.evaluation.metrics import (
    FEEDBACK,
    FIT,
    LISTS,
    READINGS,
    SLATES,
    ValidationMetric,
    metric_of,
    names_of,
    parse,
)
from training.settings import FAMILIES
from training.settings.spec import Question

if TYPE_CHECKING:
    from training.config import TrainingConfig

Found = Iterator[tuple[tuple[str | int, ...], Problem]]


def _metrics(config: "TrainingConfig") -> Found:
    """The gate asks for what the evaluation measures."""
    known = _measured(config)
    for path, name in _asked(config):
        if name not in known:
            said = f"found {shown(name)}{_why_unmeasured(name, config.evaluation.protocol)}"
            problem = Problem(
                path="", found=said, expected=one_of(known), nearest=near(name, known)
            )
            yield path, problem


def _metrics_of_challenger(config: "TrainingConfig") -> Found:
    """The gate asks for what the challenger can be measured by."""
    challenger = config.models.challenger
    answers = _answers(config, challenger)
    for path, name in _asked(config):
        if name not in _measured(config):
            continue
        asked = parse(name)
        board = asked.metric.board
        if asked.reading and "semantic_ids" not in FAMILIES[challenger].reads:
            said = f"found {shown(name)}, and {challenger} has no semantic IDs"
            of_items = str(replace(asked, reading=""))
            yield path, Problem(path="", found=said, expected=repr(of_items))
        if board == LISTS and LISTS not in answers:
            said = f"found {shown(name)}, and {challenger} does not recommend"
            yield path, Problem(path="", found=said, expected=one_of(names_of(FEEDBACK)))
        # A guard of feedback guards those who can rank; it may be that nobody can.
        if board == FEEDBACK and FEEDBACK not in answers and path[-1] == "primary_metric":
            said = f"found {shown(name)}, and {challenger} does not rank"
            expected = "a metric of lists or slates, or a challenger that ranks (unigrf)"
            yield path, Problem(path="", found=said, expected=expected)


def _measured(config: "TrainingConfig") -> list[str]:
    evaluation = config.evaluation
    lists = names_of(LISTS, evaluation.cutoffs, READINGS)
    slates = names_of(SLATES, evaluation.slate_cutoffs)
    if evaluation.protocol != "rolling":
        slates = []
    return [*lists, *slates, *names_of(FEEDBACK)]


def _asked(config: "TrainingConfig") -> list[tuple[tuple[str | int, ...], str]]:
    gate = config.gate
    guards = [(("gate", "guard_metrics", n), name) for n, name in enumerate(gate.guard_metrics)]
    return [(("gate", "primary_metric"), gate.primary_metric), *guards]


def _why_unmeasured(name: str, protocol: str) -> str:
    """Of a metric that could be measured, why it is not; empty for any other name."""
    try:
        asked = parse(name)
    except ValueError:
        return ""
    if asked.metric.board == SLATES and protocol != "rolling":
        return f", and no slate is held out whole under evaluation.protocol: {protocol}"
    cutoffs = {LISTS: "cutoffs", SLATES: "slate_cutoffs"}.get(asked.metric.board)
    if asked.cutoff is None or cutoffs is None:
        return ""
    return f", and {asked.cutoff} is not among evaluation.{cutoffs}"


def _entrants(config: "TrainingConfig") -> Found:
    """The floor is evaluated, and nobody faces itself."""
    models, floor = config.models, config.gate.floor
    entrants = (models.challenger, *models.baselines)
    if floor not in entrants:
        said = f"found {shown(floor)}, which is not evaluated"
        expected = f"{one_of(entrants)} (models.challenger and models.baselines)"
        yield ("gate", "floor"), Problem(path="", found=said, expected=expected)
    for place, name in enumerate(models.baselines):
        if name in models.baselines[:place]:
            yield ("models", "baselines", place), Problem(path="", found=f"{name!r} is there twice")


def _chance(config: "TrainingConfig") -> Found:
    """What answers lists is not measured by a split that knows the days after the question."""
    if config.evaluation.protocol != "random":
        return
    for family in (config.models.challenger, *config.models.baselines):
        if LISTS in _answers(config, family):
            said = f"found 'random', and {family} answers lists"
            expected = "rolling or leave_last_out, or families that answer feedback alone"
            yield ("evaluation", "protocol"), Problem(path="", found=said, expected=expected)


def _all_events(config: "TrainingConfig") -> Found:
    """Who learns impressions is asked with all events: features count the weak ones, too."""
    for family in (config.models.challenger, *config.models.baselines):
        minimum = config.training_for(family).minimum_strength
        if "impressions" in FAMILIES[family].reads and minimum > -1:
            yield (
                ("training", "overrides", family, "minimum_strength"),
                Problem(
                    path="",
                    found=f"is {minimum}, and {family} counts all events of a history",
                    expected="-1",
                ),
            )


def _stopping(config: "TrainingConfig") -> Found:
    """What stops a training is what its family learns."""
    for family in (config.models.challenger, *config.models.baselines):
        metric, answers = config.training_for(family).validation_metric, _answers(config, family)
        every = get_args(ValidationMetric)
        allowed = [name for name in every if metric_of(name).board in {FIT, *answers}]
        if FAMILIES[family].by_epochs and metric not in allowed:
            yield (
                ("training", "overrides", family, "validation_metric"),
                Problem(
                    path="",
                    found=f"is {metric!r}, which {family} does not learn",
                    expected=one_of(sorted(allowed)),
                ),
            )


def _heads(config: "TrainingConfig") -> Found:
    """Heads share a width."""
    for family, settings in config.models.settings.items():
        shape = FAMILIES[family].config_class(**settings)
        heads, width = getattr(shape, "num_heads", 0), getattr(shape, "width", 0)
        if not heads:
            continue
        backbone = getattr(shape, "backbone", "llama")
        if backbone == "llama" and width % (2 * heads):
            wrong = f"a width of {width} is no multiple of twice num_heads ({2 * heads})"
        elif backbone == "hstu" and (shape.hidden_width or width) % heads:
            wrong = f"{heads} heads can't share a width of {shape.hidden_width or width}"
        elif backbone == "attention" and width % heads:
            wrong = f"{heads} heads can't share a width of {width}"
        else:
            continue
        yield ("models", "settings", family), Problem(path="", found=wrong)


def _blend(config: "TrainingConfig") -> Found:
    """A blend is of an entrant that answers lists, and one that answers lists or feedback."""
    models = config.models
    if models.blend is None:
        return
    entrants, path = (models.challenger, *models.baselines), ("models", "blend")
    absent = [name for name in models.blend if name not in entrants]
    if absent:
        said = f"found {shown(absent[0])}, which is not trained"
        expected = f"two of {', '.join(entrants)} (models.challenger and models.baselines)"
        yield path, Problem(path="", found=said, expected=expected)
    first, second = models.blend
    if first == second:
        yield path, Problem(path="", found=f"{first!r} is there twice")
    if LISTS not in _answers(config, first):
        expected = "first a family that recommends; one that ranks alone comes second"
        yield path, Problem(path="", found=f"{first} does not recommend", expected=expected)
    elif not {LISTS, FEEDBACK} & _answers(config, second):
        yield path, Problem(path="", found=f"{second} neither recommends nor ranks")


def _answers(config: "TrainingConfig", family: str) -> frozenset[Question]:
    """What a family of the preset can be asked."""
    return FAMILIES[family].answers_with(config.models.settings.get(family, {}))


def _own_rules(config: "TrainingConfig") -> Found:
    """Rules of one's own about what training writes can be evaluated without Spark."""
    for place, problem in problems_of(config.validation.rules):
        yield ("validation", "rules", place, "condition"), Problem(path="", found=problem)


RULES = (
    Rule(("evaluation", "gate"), _metrics),
    Rule(("models", "evaluation", "gate"), _metrics_of_challenger),
    Rule(("models.challenger", "models.baselines", "gate.floor"), _entrants),
    Rule(("models", "evaluation"), _chance),
    Rule(("models", "training"), _all_events),
    Rule(("models", "training"), _stopping),
    Rule(("models", "training"), _blend),
    Rule(("models.settings",), _heads),
    Rule(("validation.rules",), _own_rules),
)
