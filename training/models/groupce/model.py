"""groupce: how likely a click is, learnt with lists inside nested groups of similar users.

After arXiv:2506.12756 (docs/mechanics.md, GroupCE). Users get residual codes of their vector e_u;
rows of a batch whose users share a prefix of codes are put into order together, level by level:

    L = BCE( g(e_u, e_i), y ) + λ BCE( g(e_u + sg(ê_u - e_u), sg(e_i)), y ) + w Σ_l weighted L_l

Other ranking losses, or none, take the place of the sum. Answers need none of it: σ(g(e_u, e_i)).

B rows, C candidates, L events of a history, F fields, D width of a user's vector, U users.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.features import Features
from training.data.queries import PAD, Queries
from training.losses.quantization import straight_through
from training.models.groupce.batches import ImpressionBatch, history_codes
from training.models.groupce.fields import FieldTable
from training.models.groupce.networks import NETWORKS
from training.models.groupce.ranking_loss import RankingLoss, click
from training.models.groupce.roster import Roster
from training.models.groupce.user_codes import UserCodes
from training.models.ranking import rows_within
from training.settings.groupce import GroupceConfig
from training.settings.spec import Question

CHUNK_CELLS = 16_000_000
"""Values of one layer alive at a time while answering."""
TERMS = ("click", "quantised")
"""Losses of a row that are watched beside the ranking loss's."""


@dataclass(frozen=True)
class GroupceState:
    """Users that were read once.

    Attributes:
        queries: their questions.
        user_BD: e_u.
        history_BLF: codes of the items of their events, -1 where there is none; None: not read.
    """

    queries: Queries
    user_BD: Tensor
    history_BLF: Tensor | None


class Groupce(nn.Module):
    """A ranker of impressions: it answers feedback, and nothing else.

    Args:
        config: the shape and the losses.
        features: what makes codes of a question.
    """

    family = "groupce"
    answers: frozenset[Question] = frozenset({"feedback"})
    positions_per_event = 1

    def __init__(self, config: GroupceConfig, features: Features) -> None:
        super().__init__()
        self.config, self.features = config, features
        table = FieldTable(features.fields, config.field_width)
        num_logits = 2 if config.ranking_loss == "jrc" else 1
        self.backbone = NETWORKS[config.network](config, table, num_logits)
        self.ranking = None if config.ranking_loss == "none" else RankingLoss(config)
        self.codes: UserCodes | None = None
        if config.has_codes:
            self.codes = UserCodes(
                config.levels,
                config.codes,
                self.backbone.user_width,
                decay=config.code_decay,
                expiry=config.code_expiry,
            )
        self.register_buffer("base_rate", torch.tensor(0.5))
        self.kept = _Kept(features)
        self.roster: Roster | None = None
        self._sums = torch.zeros(len(TERMS) + 1)

    @property
    def table(self) -> FieldTable:
        """The vectors of all fields' values."""
        table: FieldTable = self.backbone.table
        return table

    def prepare(self, user_UF: np.ndarray, present_U: np.ndarray) -> None:
        """Say who trains, so that their codes are watched, and kept for the next epoch.

        Args:
            user_UF: codes of all users, int32.
            present_U: which of them train, bool.
        """
        if self.codes is not None:
            self.roster = Roster(self.codes, user_UF, present_U)

    def forward(self, batch: ImpressionBatch) -> Tensor:
        """Loss of the batch in nats, summed over rows; in evaluation the LogLoss alone."""
        network, config = self.backbone, self.config
        user_BD = network.user(batch.user_BF)
        item_BD = network.item(batch.item_BF, batch.context_BF, batch.history_BLF)
        logits = network(user_BD, item_BD).float()
        label_B = batch.labels_B.float()
        of_click = _log_loss(click(logits), label_B)
        if not self.training:
            return of_click
        total, of_quantised, codes_BQ = of_click, torch.zeros_like(of_click), None
        if self.codes is not None:
            codes_BQ, quantised_BD = self._coded(self.codes, user_BD, batch)
            if config.quantised_weight:
                of_quantised = self._quantised_loss(user_BD, quantised_BD, item_BD, label_B)
                total = total + config.quantised_weight * of_quantised
        if self.ranking is not None:
            compared = logits if config.ranking_loss == "jrc" else click(logits)
            # A mean over groups, not over rows: as often as there are rows, which the loop divides
            # by.
            ranked = self.ranking(compared, batch, codes_BQ)
            total = total + config.ranking_weight * len(batch) * ranked
        self._note(of_click, of_quantised, len(batch))
        return total

    def _coded(
        self, codes: UserCodes, user_BD: Tensor, batch: ImpressionBatch
    ) -> tuple[Tensor, Tensor]:
        """Codes that rows are grouped by, and ê_u; the codebooks follow the batch's users."""
        is_first_B = batch.is_first_B
        user_UD = user_BD.detach()[is_first_B]
        codes.begin(user_UD)
        coded = codes.assign(user_BD)
        expired_Q = codes.update(user_UD, coded.codes_BQ[is_first_B])
        codes_BQ = coded.codes_BQ
        if self.roster is not None:
            self.roster.note(expired_Q)
            if self.config.codes_of == "epoch":
                codes_BQ = self.roster.codes_of(batch.user_B, codes_BQ)
        return codes_BQ, coded.quantised_BD

    def _quantised_loss(
        self, user_BD: Tensor, quantised_BD: Tensor, item_BD: Tensor, label_B: Tensor
    ) -> Tensor:
        """`BCE( g(e_u + sg(ê_u - e_u), sg(e_i)), y )`, summed."""
        network = self.backbone
        rounded_BD = straight_through(user_BD, quantised_BD.to(user_BD.dtype))
        if self.config.quantised_trains_main:
            logits = network(rounded_BD, item_BD.detach())
        else:
            fixed = {name: value.detach() for name, value in network.named_parameters()}
            vectors = (rounded_BD, item_BD.detach())
            logits = torch.func.functional_call(network, fixed, vectors)
        return _log_loss(click(logits.float()), label_B)

    @torch.no_grad()
    def _note(self, of_click: Tensor, of_quantised: Tensor, rows: int) -> None:
        noted = torch.stack([of_click, of_quantised, of_click.new_tensor(float(rows))])
        self._sums = self._sums.to(noted.device) + noted

    def training_state(self) -> dict[str, Tensor]:
        """What later steps depend on beside the weights, and what is watched."""
        state = {"sums": self._sums}
        for owner, part in self._remembering().items():
            state |= {f"{owner}.{name}": value for name, value in part.state().items()}
        return state

    def restore_training(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `training_state` gave."""
        self._sums = state["sums"].clone()
        for owner, part in self._remembering().items():
            start = f"{owner}."
            part.restore(
                {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            )

    def _remembering(self) -> dict[str, RankingLoss | Roster]:
        parts = {"ranking": self.ranking, "roster": self.roster}
        return {name: part for name, part in parts.items() if part is not None}

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch of training: points of its curves.

        Returns:
            `loss_click` and `loss_quantised`, nats a row; those of the ranking loss, and of codes.
        """
        *sums, rows = total(self._sums.cpu().numpy()).tolist()
        self._sums = torch.zeros_like(self._sums)
        points = {
            f"loss_{name}": value / max(1.0, rows)
            for name, value in zip(TERMS, sums, strict=True)
            if name == "click" or self.codes is not None
        }
        if self.ranking is not None:
            points |= self.ranking.end_epoch(total)
        if self.roster is not None:
            points |= self.roster.end_epoch(self.backbone.user)
        return points

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose widest array fits into `CHUNK_CELLS`."""
        config, network = self.config, self.backbone
        values = max(network.width, config.hidden_width)
        if network.reads_history:
            values = max(values, config.hidden_width * (1 + queries.items_BL.shape[1]))
        return rows_within(CHUNK_CELLS, max(1, num_candidates) * values)

    @torch.inference_mode()
    def read(self, queries: Queries) -> GroupceState:
        """Make codes of users and their histories, and of the codes their vectors."""
        self.eval()
        history_BLF = None
        if self.backbone.reads_history:
            # What happens in the question's own second is not known yet, as in training.
            is_before_BL = queries.times_BL < queries.asked_at_B[:, None]
            items_BL = np.where(is_before_BL, queries.items_BL, PAD)
            history_BLF = self._tensor(history_codes(self.features, items_BL))
        user_BD = self.backbone.user(self._tensor(self.features.user_codes(queries)))
        return GroupceState(queries, user_BD, history_BLF)

    def select(self, state: GroupceState, rows: np.ndarray) -> GroupceState:
        """Some of the rows."""
        row_N = self._tensor(np.arange(len(state.queries))[rows])
        history_BLF = None if state.history_BLF is None else state.history_BLF[row_N]
        return GroupceState(state.queries.where(rows), state.user_BD[row_N], history_BLF)

    @torch.inference_mode()
    def rank(self, state: GroupceState, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback for each candidate, float32, [B, C].

        An item beyond the catalogue gets the share of positive feedback in training, a `PAD` NaN.
        """
        if not items_BC.size:
            return np.empty(items_BC.shape, dtype=np.float32)
        num_candidates = items_BC.shape[1]
        context_BCF = self.features.context_codes(state.queries, items_BC)
        item_BCF = self.features.item_codes(items_BC)
        item_NF, context_NF = (
            self._tensor(codes.reshape(items_BC.size, -1)) for codes in (item_BCF, context_BCF)
        )
        history_NLF = None
        if state.history_BLF is not None:
            history_NLF = state.history_BLF.repeat_interleave(num_candidates, 0)
        item_ND = self.backbone.item(item_NF, context_NF, history_NLF)
        user_ND = state.user_BD.repeat_interleave(num_candidates, 0)
        logit_N = click(self.backbone(user_ND, item_ND).float())
        liked_BC = logit_N.sigmoid().cpu().numpy().reshape(items_BC.shape)
        is_known_BC = (items_BC >= 0) & (items_BC < self.features.num_items)
        liked_BC = np.where(is_known_BC, liked_BC, float(self.base_rate))
        return np.where(items_BC == PAD, np.nan, liked_BC).astype(np.float32)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.base_rate.device)

    @property
    def sizes(self) -> dict[str, Any]:
        """What shapes depend on beside the config."""
        return {"features": dict(self.features.sizes)}

    @classmethod
    def from_weights(
        cls, config: GroupceConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """The model that had these weights."""
        start = "kept."
        kept = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        model = cls(config, Features.from_weights(sizes["features"], kept))
        model.load_state_dict(dict(tensors))
        return model


class _Kept(nn.Module):
    """The arrays of the features among the weights, so that a bundle has both or neither."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        for name, value in features.state_dict().items():
            self.register_buffer(name, value)


def _log_loss(logit_B: Tensor, label_B: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logit_B, label_B, reduction="sum")
