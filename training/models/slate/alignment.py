"""A model of slates learns which of two slates is better, and does not forget what it can say.

After the pretraining (HiGR §3.4; docs/mechanics.md, ORPO). Each pair's loss is

    L = - mean_{tokens of y+} log P(token)  +  preference_weight · L_pref( y+, y- )

with L_pref one of `training.losses.preference`. The first term stays: without it preference losses
ruin what beams find (docs/mechanics.md, ORPO). What could be lost is watched after each epoch on
later slates, beside its value before the alignment; where too much of it is gone, the fit stops
with the reason, and the weights are those of the pretraining.

B rows, M places, Q levels, P pairs, S slates, k places asked for.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor, nn

from training import inference
from training.data.preferences import PairBatch, Pairs, pair_batches
from training.data.queries import PAD
from training.data.slate_batches import SlatePlan, slate_queries
from training.data.slate_splits import SlateSplit
from training.data.vocabulary import Vocabulary
from training.decoding.beam import beam_search
from training.evaluation.slate import coverage, intra_list_similarity, repeats
from training.fit.checkpoint import weights
from training.fit.distributed import Processes
from training.fit.fitting import FitReport, Fitting, LoopSettings
from training.fit.loop import fit_objective
from training.fit.objective import Curves
from training.losses.preference import dpo_loss, orpo_loss, simpo_loss
from training.models.slate.fit import CUTOFF, SlateObjective, learnable
from training.models.slate.model import Read, SlateModel
from training.settings.alignment import AlignmentConfig


class Aligned(nn.Module):
    """A model with the loss of pairs around it; what the loop trains.

    Args:
        policy: the pretrained model; it is trained in place.
        config: of the alignment.
        references_P2: what the pretrained model says of each pair's chosen and rejected slate,
            summed log-probabilities; None where the method needs none.
    """

    def __init__(
        self, policy: SlateModel, config: AlignmentConfig, references_P2: Tensor | None
    ) -> None:
        super().__init__()
        self.policy, self.config = policy, config
        self.family, self.positions_per_event = policy.family, policy.positions_per_event
        self.register_buffer("references_P2", references_P2)

    @property
    def backbone(self) -> nn.Module:
        """The policy's."""
        return self.policy.backbone

    def forward(self, batch: PairBatch) -> Tensor:
        """Loss of the batch's pairs in nats, summed."""
        sum_B2, count_B = pair_log_probs(self.policy, batch)
        is_pair_B = count_B > 0
        mean_B2 = sum_B2 / count_B.clamp(min=1)[:, None]
        loss_B = -mean_B2[:, 0]
        if self.config.preference_weight:
            loss_B = loss_B + self.config.preference_weight * self._preference(
                batch, sum_B2, mean_B2
            )
        return loss_B.masked_fill(~is_pair_B, 0.0).sum()

    def _preference(self, batch: PairBatch, sum_B2: Tensor, mean_B2: Tensor) -> Tensor:
        config = self.config
        if config.method == "orpo":
            return orpo_loss(*mean_B2.unbind(1))
        if config.method == "simpo":
            return simpo_loss(
                *mean_B2.unbind(1), beta=config.simpo_beta, margin=config.simpo_margin
            )
        references_B2 = self.references_P2[batch.pair_B]
        return dpo_loss(*sum_B2.unbind(1), *references_B2.unbind(1), beta=config.dpo_beta)


def pair_log_probs(model: SlateModel, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """Summed log-probability of both slates of each pair, [B, 2], and the tokens of each, [B]."""
    found_B2MQ = model.slate_log_probs(batch.queries, batch.slate_B2M)
    count_B = (batch.slate_B2M[:, 0] != PAD).sum(1) * model.num_levels
    return found_B2MQ.sum((2, 3)), count_B


@torch.no_grad()
def reference_log_probs(model: SlateModel, pairs: Pairs, plan: SlatePlan) -> Tensor:
    """What a model says of all pairs, [P, 2] by the pairs' numbers; on the model's device."""
    model.eval()
    device = model.codes_VQ.device
    found_P2 = torch.zeros((len(pairs), 2), device=device)
    for batch in pair_batches(pairs, plan, 0):
        batch = batch.to(device)
        found_P2[batch.pair_B] = pair_log_probs(model, batch)[0]
    return found_P2


class PairObjective:
    """Every pair, once an epoch; validation is that of the pretraining, and what is watched.

    Args:
        pairs: that train.
        slates: the objective of the pretraining: its validation measures this one's.
        watched: pairs of validation slates.
        config: what may not be lost.
        settings: of the loop.
        item_vectors_VD: what similarity within slates is measured with.
        pretrained: weights that the fit begins with.
    """

    def __init__(
        self,
        pairs: Pairs,
        slates: SlateObjective,
        watched: Pairs,
        config: AlignmentConfig,
        settings: LoopSettings,
        item_vectors_VD: np.ndarray,
        pretrained: Mapping[str, Tensor],
    ) -> None:
        self.pairs, self.slates, self.watched = pairs, slates, watched
        self.config, self.settings = config, settings
        self.item_vectors_VD, self.pretrained = item_vectors_VD, pretrained
        self.before: Mapping[str, float] = {}

    def plan(self, world_size: int) -> SlatePlan:
        """How pairs become batches of so many processes; an item is in two slates."""
        plan = self.slates.plan(world_size)
        # A pair's two slates stand as they were published.
        return replace(plan, positions_per_item=2 * plan.positions_per_item, draws_ties=False)

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return len(self.plan(world_size).groups(self.pairs.chosen, epoch))

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[PairBatch]:
        """Batches of the pairs."""
        return pair_batches(
            self.pairs,
            self.plan(world_size),
            epoch,
            first_step=first_step,
            rank=rank,
            world_size=world_size,
        )

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """The pretraining's validation, and beside it what is watched; by every process alike."""
        policy = model.policy if isinstance(model, Aligned) else model
        found = self.slates.validate(policy, fitting, group)
        watched: dict[str, float] = self.watch(policy, found, fitting)
        return found | watched

    @torch.inference_mode()
    def watch(
        self, policy: SlateModel, found: Mapping[str, float], fitting: Fitting
    ) -> dict[str, float]:
        """What an alignment may ruin, on slates and pairs that do not train."""
        policy.eval()
        watched: dict[str, float] = {}
        if "validation_loss" in found:
            watched["perplexity"] = math.exp(found["validation_loss"] / policy.num_terms)
        if len(self.watched):
            watched |= self._pairs_watched(policy)
        if len(self.slates.validation):
            watched |= self._slates_watched(policy, fitting)
        return watched

    def _pairs_watched(self, policy: SlateModel) -> dict[str, float]:
        mean_P2 = torch.zeros((len(self.watched), 2))
        for batch in pair_batches(self.watched, self.plan(1), 0):
            sum_B2, count_B = pair_log_probs(policy, batch.to(policy.codes_VQ.device))
            mean_P2[batch.pair_B] = (sum_B2 / count_B[:, None]).cpu()
        return {
            "chosen_log_prob": float(mean_P2[:, 0].mean()),
            "rejected_log_prob": float(mean_P2[:, 1].mean()),
            "preference_accuracy": float((mean_P2[:, 0] > mean_P2[:, 1]).float().mean()),
        }

    def _slates_watched(self, policy: SlateModel, fitting: Fitting) -> dict[str, float]:
        slates = self.slates.validation
        count = min(len(slates), self.config.watched_slates)
        slates = slates.where(np.linspace(0, len(slates) - 1, count).astype(np.int64))
        said, repeated, invalid = [], [], []
        questions = slate_queries(
            slates, max_history=self.settings.max_history, exclude_seen=fitting.exclude_seen
        )
        for queries in questions:
            for rows, state in inference.states(policy, queries, k=CUTOFF):
                said.append(policy.recommend(state, CUTOFF).items_Bk)
                count = rows.stop - rows.start
                free = torch.full((count, 0), PAD, device=policy.codes_VQ.device)
                items_Bk, _ = policy.say(state.read, CUTOFF, free, distinct=False)
                repeated.append(items_Bk.cpu().numpy())
                invalid.append((invalid_share(policy, state.read), count))
        slates_SM = np.concatenate(said)
        shares, sizes = zip(*invalid, strict=True)
        return {
            "intra_list_similarity": _mean(intra_list_similarity(slates_SM, self.item_vectors_VD)),
            "coverage": coverage(slates_SM, len(policy.codes_VQ)),
            "repeats": repeats(np.concatenate(repeated)),
            "invalid_share": float(np.average(shares, weights=sizes)),
        }

    def objection(self, curves: Curves) -> str:
        """What has been lost against the time before; empty while it is bearable."""
        return "; ".join(collapse(self.before, curves[-1], self.config))

    def content(self) -> Iterator[np.ndarray]:
        """The weights before, queries and items of all pairs, and the pretraining's slates."""
        yield from (value.numpy() for value in self.pretrained.values())
        pairs = self.pairs
        yield from self.slates.content()
        yield from (pairs.chosen.user, pairs.chosen.position, pairs.chosen.offsets)
        yield from (pairs.chosen.items, pairs.rejected)


def collapse(
    before: Mapping[str, float], now: Mapping[str, float], config: AlignmentConfig
) -> list[str]:
    """Sentences about what an alignment has ruined; none while all is within its bounds.

    Only what was measured both times is compared.
    """
    bounds: dict[str, Callable[[float], tuple[float, int]]] = {
        "chosen_log_prob": lambda was: (was - config.max_chosen_fall, -1),
        "perplexity": lambda was: (was * config.max_perplexity_ratio, 1),
        "invalid_share": lambda was: (was + config.max_invalid_rise, 1),
        "intra_list_similarity": lambda was: (was + config.max_similarity_rise, 1),
        "coverage": lambda was: (was * config.min_coverage_ratio, -1),
        "repeats": lambda was: (was + config.max_repeats_rise, 1),
    }
    found = []
    for name, bound_of in bounds.items():
        if name not in now or math.isnan(before.get(name, math.nan)):
            continue
        bound, sign = bound_of(before[name])
        # Not "beyond the bound" but "not within it": NaN is a collapse, too.
        if not sign * now[name] <= sign * bound:
            found.append(
                f"{name} went from {before[name]:.4g} to {now[name]:.4g}, the bound is {bound:.4g}"
            )
    return found


@torch.inference_mode()
def invalid_share(model: SlateModel, read: Read) -> float:
    """Share of semantic IDs no item has among those that free beams find for first items."""
    beams = beam_search(
        model.opening(read),
        model.trie,
        num_rows=len(read.lengths_B),
        beam_width=model.config.beam_width,
        constrained=False,
    )
    share: float = beams.illegal_share(model.trie)
    return share


def align(
    model: SlateModel,
    slates: SlateSplit,
    pairs: Pairs,
    config: AlignmentConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    *,
    item_vectors_VD: np.ndarray | None = None,
) -> tuple[SlateModel, FitReport]:
    """Align a pretrained model in place.

    Args:
        model: pretrained on these slates.
        slates: pairs of its training slates train, those of its validation are watched.
        pairs: of any of its slates, with queries of the same events as theirs; those of test
            slates are not looked at.
        config: how.
        fitting: as for the pretraining; the learning rate should be a tenth of it.
        vocabulary: the same.
        item_vectors_VD: for similarity within slates; None: the model's own before the alignment.
    Returns:
        The model, with the weights of the best epoch, or, where the alignment ruined it, its own
        from before; facts say `collapsed` (why, or ""), `before` (what is watched, at that time)
        and the numbers of pairs.
    Raises:
        ValueError: no pair of a training slate is left.
    """
    codes_VQ = vocabulary.require_codes()
    learnt = learnable(slates, model.config, codes_VQ)
    objective_before = SlateObjective(
        learnt, fitting.settings, model.positions_per_item, model.config.order
    )
    known = pairs.of_known(codes_VQ[:, 0] >= 0)
    training = known.of_slates(slates.train)
    if not len(training):
        raise ValueError(
            f"none of {len(pairs)} pairs is of a training slate and has semantic IDs for all its"
            " items; run build_preference_pairs for the training days"
        )
    watched = known.of_slates(slates.validation).first(config.watched_slates)
    model.to(fitting.device).eval()
    if item_vectors_VD is None:
        with torch.no_grad():
            everything = torch.arange(len(codes_VQ), device=model.codes_VQ.device)
            item_vectors_VD = model.item_vectors(everything).cpu().numpy()
    pretrained = weights(model)
    objective = PairObjective(
        training, objective_before, watched, config, fitting.settings, item_vectors_VD, pretrained
    )
    objective.before = _alone(objective, model, fitting)
    references_P2 = None
    if config.method == "dpo":
        references_P2 = reference_log_probs(model, training, objective.plan(1))
    report = fit_objective(Aligned(model, config, references_P2), objective, fitting)
    collapsed = objective.objection(report.epochs)
    if collapsed:
        model.load_state_dict(pretrained)
    model.eval()
    kinds, counts = np.unique(training.kinds.astype(str), return_counts=True)
    facts = {
        "alignment": asdict(config),
        "collapsed": collapsed,
        "before": dict(objective.before),
        "train_pairs": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "train_pairs_without_code": len(pairs.of_slates(slates.train)) - len(training),
        "watched_pairs": len(watched),
    }
    return model, replace(report, facts={**report.facts, **facts})


def _alone(objective: PairObjective, model: SlateModel, fitting: Fitting) -> dict[str, float]:
    """The objective's validation of the pretrained model, by this process for itself."""
    alone = Processes(0, 1, model.codes_VQ.device)
    return objective.validate(model, fitting, alone)


def _mean(values: np.ndarray) -> float:
    """Mean of the numbers among the values; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
