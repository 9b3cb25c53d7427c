"""What a preset says to training: tokenizer, models, loop, evaluation, gate, recommendations."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from feature_store.held_out import HeldOut
from feature_store.preset import Part, Section
from feature_store.pseudo_exposures import PseudoExposuresOnly
from feature_store.validation import Validation
from training.evaluation.metrics import ValidationMetric
from training.preset_rules import RULES
from training.preset_sections import choice, overrides_by, settings_by, settings_of
from training.settings import FAMILIES, TOKENIZERS
from training.settings.alignment import AlignmentConfig
from training.settings.spec import BLEND, AskedAt

# Made from what is installed. A type checker sees what a validated value is.
if TYPE_CHECKING:
    Family = str
    TokenizerKind = str
    FamilySettings = dict[str, dict[str, Any]]
    TokenizerSettings = dict[str, dict[str, Any]]
    AlignmentSettings = dict[str, Any]
else:
    Family = choice(FAMILIES)
    TokenizerKind = choice(TOKENIZERS)
    FamilySettings = settings_by(FAMILIES, lambda spec: spec.config_class)
    TokenizerSettings = settings_by(TOKENIZERS, lambda config_class: config_class)
    AlignmentSettings = settings_of(AlignmentConfig)
Places = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class Tokenizer(Section):
    """How item vectors become semantic IDs."""

    kind: TokenizerKind = "rq_kmeans"
    """Residual k-means on the vectors, or on what an autoencoder makes of them, plain or taught
    which items belong together."""
    encoder: str = ""
    """Whose vectors, as `name` or `name@revision` of item_embeddings; empty: the only one there
    is."""
    vectors: Literal["text", "collaborative", "both"] = "both"
    """What is read of an item: its content (`text`, whatever the encoder reads), who took to it as
    far as weights may know, or both beside each other. An item that nobody took to has that half
    by what its content lets expect."""
    num_levels: int = Field(default=3, ge=1, le=8)
    """Codes of a semantic ID."""
    codebook_size: int = Field(default=64, ge=2)
    """Codes to choose from on each level."""
    iterations: int = Field(default=50, ge=1)
    """Most passes of k-means."""
    seed: int = 0
    """Of what is drawn."""
    collisions: Literal["suffix", "reassign", "bucket"] = "reassign"
    """Items with equal codes: a resolving level is added, the last code moves to the next
    nearest free one, or they stay together."""
    settings: TokenizerSettings = Field(default_factory=dict)
    """Per kind, further fields of its own frozen config dataclass (`crq_vae: {epochs: 60}`)."""
    retrain_days: int = Field(default=7, ge=1)
    """A new generation is trained when the current one is this old; new items get codes from
    the current one in between."""


class Models(Section):
    """Which family is trained, and what it must face."""

    challenger: Family = "tiger"
    """The family that is to serve."""
    baselines: tuple[Family, ...] = ("sasrec", "item_knn", "popularity")
    """Families that are trained beside it; a challenger that one of them beats is not promoted."""
    blend: tuple[Family, Family] | None = None
    """Two of these that answer together, too (`[tiger, sasrec]`): a weighted sum of their scores,
    the weight chosen on validation targets. A second that ranks and lists nothing
    (`[tiger, rates]`) scores the first's candidates again. One more baseline, named `blend`."""
    settings: FamilySettings = Field(default_factory=dict)
    """Per family, fields of its own frozen config dataclass (`tiger: {width: 64}`)."""

    @property
    def rivals(self) -> tuple[str, ...]:
        """Whom the challenger must face: the baselines, and the blend where there is one."""
        return (*self.baselines, *((BLEND,) if self.blend else ()))


class Loop(Section):
    """One loop for every neural family."""

    seed: int = 0
    """Of first weights, batches and dropout."""
    max_epochs: int = Field(default=30, ge=1)
    """Most passes over the training histories."""
    patience_epochs: int = Field(default=3, ge=1)
    """Stop when the validation metric has not improved for so many epochs, counted from the first
    one after the warm-up that beats popularity (auc: a coin) by two standard errors."""
    tokens_per_batch: int | None = Field(default=None, ge=16)
    """Padded input positions per step and process; null: so many that an epoch has a hundred steps
    or more, from 512 to 8,192."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At its peak."""
    warmup_steps: int = Field(default=50, ge=0)
    """Steps in which the learning rate rises to its peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    gradient_clip_factor: float = Field(default=5.0, gt=0)
    """Gradients longer than so many times their mean over the latest hundred steps are cut to that:
    a safeguard against single steps. Where it cuts more than a tenth of them after the warm-up, the
    report says so."""
    weight_average_decay: float = Field(default=0.995, ge=0, lt=1)
    """What is validated and kept is the average of the weights over about the last 1 / (1 - decay)
    steps, at first over the last tenth of them; 0: the weights of the last step."""
    max_history: int = Field(default=50, ge=1)
    """Events of context per position at training and at serving."""
    window_overlap: int = Field(default=10, ge=0)
    """A history longer than `max_history` is cut into windows; events of context that the first
    target of a later window sees."""
    validation_metric: ValidationMetric = "ndcg@10"
    """What stops the training: the order that is wanted, of the next items or (auc) of feedback, or
    the cheaper and smoother loss."""
    max_validation_targets: int = Field(default=5000, ge=1)
    """Validation targets measured after each epoch, evenly spread over those there are; curves say
    the standard error over people (`validation_error`) that so many leave."""
    minimum_strength: int = Field(default=-1, ge=-1, le=3)
    """Events below are neither context nor target of next-item training."""
    checkpoint_every_steps: int = Field(default=200, ge=1)
    """After so many steps a killed fit can go on from where it was."""
    compile_backbone: bool = False
    """On a GPU, train on a compiled backbone: minutes before the first step, faster steps."""
    warm_start_epochs: int = Field(default=0, ge=0)
    """At most so many where a fit begins with the weights of an earlier day, of the same shape and
    semantic IDs; 0: every fit begins anew. A new generation of semantic IDs always does."""
    warm_start_learning_rate_share: float = Field(default=0.6, gt=0, le=1)
    """Of `learning_rate`, where a fit begins with earlier weights."""
    warm_start_days: int = Field(default=7, ge=1)
    """How many days back earlier weights are looked for."""


if TYPE_CHECKING:
    LoopOverrides = dict[str, dict[str, Any]]
else:
    LoopOverrides = overrides_by(FAMILIES, Loop)


class Training(Loop):
    """The loop, and what is other in it for some families."""

    overrides: LoopOverrides = Field(default_factory=dict)
    """Per family, fields of this section (`tiger: {max_epochs: 5}`)."""


class Alignment(Section):
    """What follows the training of a family that learns preferences between slates."""

    max_epochs: int = Field(default=2, ge=1)
    """Most passes over the pairs."""
    learning_rate_share: float = Field(default=0.1, gt=0)
    """Of the training's: what was learnt is to be shifted, not learnt anew."""
    settings: AlignmentSettings = Field(default_factory=dict)
    """The loss and what may not be lost over it (`method: dpo`)."""


class Evaluation(HeldOut):
    """How candidates are measured."""

    asked_at: AskedAt | None = None
    """When the lists and slates that decide are asked for. `day_end`: once for all targets of a
    user and a day, at the midnight (UTC) before that day, as a table of recommendations is served;
    `event`: before each event, told its time. null: `day_end` under rolling, else `event`. The
    report has lists asked for at the other moment, too."""
    cutoffs: Places = (5, 10, 50)
    """Lengths of lists that are measured; the metrics `hr@K` and `ndcg@K` have these K."""
    max_targets_per_user: int = Field(default=50, ge=1)
    """Most recent held-out targets kept per user, so that heavy users don't own the mean."""
    exclude_seen: bool = True
    """Whether items of the history are filtered from the lists, for every model alike."""
    target_minimum_strength: int = Field(default=-1, ge=-1, le=3)
    """Weaker events are no target of lists."""
    positive_strength: int = Field(default=2, ge=0, le=3)
    """Feedback is positive from this strength on: what models that rank are taught and asked."""
    ranking_minimum_strength: int = Field(default=-1, ge=-1, le=3)
    """Weaker events are no target of the ranking metrics, which need both kinds of feedback."""
    slate_cutoffs: Places = (5, 10)
    """Places of the slate metrics, which are taken where slates are published."""
    slate_minimum_items: int = Field(default=5, ge=2)
    """Held-out slates that showed fewer items are not asked about."""
    slate_minimum_strength: int = Field(default=1, ge=-1, le=3)
    """Items of a slate were engaged with from this strength on."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Replicates of users behind each interval."""
    light_user_events: int = Field(default=20, ge=1)
    """Users with at most so many training events are the slice `light`."""
    seed: int = 0
    """Of the bootstrap."""

    @property
    def moment(self) -> AskedAt:
        """`asked_at`, or what the protocol makes of null."""
        return self.asked_at or ("day_end" if self.protocol == "rolling" else "event")


class Gate(Section):
    """When a challenger becomes champion; all differences are paired by user."""

    primary_metric: str = "ndcg@10"
    """What decides: a metric of lists (`ndcg@10`), of slates (`slate_ndcg@5`) or of feedback
    (`auc`)."""
    guard_metrics: tuple[str, ...] = ("hr@10", "mrr")
    """What may not get much worse. `mrr` is of lists as long as the longest cut-off, and 0 for a
    target that its list does not hold."""
    max_guard_loss: float = Field(default=0.05, ge=0)
    """Largest loss tolerated on a guard metric or a slice against the champion, as a share of what
    the champion has above chance: an AUC above 0.5, a LogLoss below that of the share of positives;
    of lists and slates its whole value."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the intervals."""
    floor: Family = "popularity"
    """The first champion must beat this family's lower bound."""
    champion_rule: Literal["not_worse", "better"] = "not_worse"
    """not_worse: the interval of the difference may include 0 but not a loss above
    `max_primary_loss`; better: its lower bound must be above 0."""
    max_primary_loss: float = Field(default=0.05, ge=0)
    """The same share, on the point estimate of the primary metric, under `not_worse`."""
    max_reference_loss: float = Field(default=0.05, ge=0)
    """The same against the reference, so that many small losses don't add up: the best champion of
    the last `reference_weeks`, measured on today's questions. Who is better than the champion
    beyond chance passes."""
    reference_weeks: int = Field(default=8, ge=1)
    """Weeks of service in which the reference is looked for; a longer memory bounds a slower
    loss."""
    on_baseline_win: Literal["promote_baseline", "refuse"] = "promote_baseline"
    """When a baseline is significantly better than the generative model."""
    minimum_users: int = Field(default=30, ge=1)
    """With fewer evaluated users no interval means anything: the gate refuses."""

    @property
    def reference_budget(self) -> float | None:
        """What may be lost against the reference; None where nobody faces one."""
        return self.max_reference_loss if self.champion_rule == "not_worse" else None


class Recommendations(Section):
    """The table the champion writes."""

    num_items: int = Field(default=20, ge=1)
    """Items of each user."""
    exclude_seen: bool = True
    """Whether items of the history are left out."""
    ranked_candidates: int = Field(default=0, ge=0)
    """Of a champion that can rank: so many items are retrieved and the most likely to be liked are
    written, by that probability; 0: the order of retrieval, as for a champion that can't."""
    active_days: int | None = Field(default=None, ge=1)
    """Only users with an event in so many last days; null: every user."""


class TrainingConfig(Section):
    """Training's part of a preset."""

    name: str
    """What tables, records and models go by; the file's name by default."""
    description: str = ""
    """What the data is, for the report."""
    tokenizer: Tokenizer = Tokenizer()
    models: Models = Models()
    training: Training = Training()
    alignment: Alignment = Alignment()
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    recommendations: Recommendations = Recommendations()
    preference_lists: PseudoExposuresOnly = PseudoExposuresOnly()
    validation: Validation = Validation()

    def training_for(self, family: str) -> Training:
        """The loop's settings with the family's overrides applied."""
        changes = self.training.overrides.get(family, {})
        return Training.model_validate({**self.training.model_dump(), **changes})


PART = Part(TrainingConfig, RULES)
