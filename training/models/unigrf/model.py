"""unigrf: one causal model says which item comes next, and what will be thought of it.

After Zhang et al. 2025 (arXiv:2504.16454). A history is one line of tokens, two for each event
(`interleave`). Where an item has been read, a small head gives the probability of positive feedback
(ranking); where a feedback has been read, the vector is compared with those of all items
(retrieval). The losses are

    L_ret  = sum_k -log softmax( sim(x_k, e_target) / temperature  over target and negatives )
    L_rank = sum_k BCE( sigmoid(head(x'_k)), b_k )
    L      = w_ret L_ret + w_rank L_rank

with negatives that the ranking head has a say in (`enhancer`) and weights that follow how fast each
loss falls (`weighter`).

B rows, L events, T tokens, D width, V items, N targets, R negatives, P items drawn, C candidates.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones import make_backbone
from training.data.batches import PAD, Batch
from training.losses.candidates import candidate_logits, unit
from training.losses.next_item import chunked_softmax_loss, position_softmax_loss
from training.models.interface import Queries, TopK
from training.models.unigrf import answers
from training.models.unigrf.answers import UnigrfState
from training.models.unigrf.contextual import contextual_scores
from training.models.unigrf.enhancer import Enhancer, choose
from training.models.unigrf.interleave import (
    interleave,
    interleave_times,
    ranking_places,
    retrieval_places,
)
from training.models.unigrf.rest import Rest
from training.models.unigrf.weighter import Weighter
from training.settings.spec import Question
from training.settings.unigrf import UnigrfConfig

STRENGTHS = 5
"""Feedback from -1 to 3."""
LATER = 64
"""Later events of a row in which hard negatives are looked for."""
ROWS = 256
"""Positions whose candidates are compared at a time: their logits stay in the cache."""


class Unigrf(nn.Module):
    """One backbone over items and feedback; two ways to read it."""

    family = "unigrf"
    positions_per_event = 2

    def __init__(self, config: UnigrfConfig, num_items: int) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        width = config.width
        self.items_VD = nn.Parameter(torch.randn(num_items, width) * 0.02)
        self.feedback = nn.Embedding(2 if config.feedback_input == "binary" else STRENGTHS, width)
        self.start_D = nn.Parameter(torch.randn(width) * 0.02)
        self.places_TD = None
        if config.learned_positions:
            places_TD = torch.randn(config.max_positions, width) * width**-0.5
            self.places_TD = nn.Parameter(places_TD)
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = make_backbone(
            config.backbone,
            width=width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            dropout=config.dropout,
            max_positions=config.max_positions,
            hidden_width=config.hidden_width,
        )
        nn.init.normal_(self.feedback.weight, std=0.02)
        self.head = None
        if config.ranks:
            self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
        # What is said of an item that the model has never heard of: the share of positive feedback.
        self.register_buffer("base_rate", torch.tensor(0.5))
        self.enhancer = Enhancer(config) if config.uses_enhancer else None
        self.weighter = Weighter(config) if config.tasks == "both" else None
        self.rest = Rest() if config.tasks == "both" else None
        self.index = answers.KeptIndex()

    @property
    def sizes(self) -> dict[str, Any]:
        """V."""
        return {"num_items": self.num_items}

    @classmethod
    def from_weights(
        cls, config: UnigrfConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "Unigrf":
        """The model that had these tensors."""
        model = cls(config, **sizes)
        model.load_state_dict(tensors)
        return model

    @property
    def answers(self) -> frozenset[Question]:
        """What it was fitted for."""
        return self.config.answers

    def item_tokens(self, items: Tensor) -> Tensor:
        """Input vectors of items; the last axis is D."""
        return F.embedding(items.clamp(min=0), self.items_VD) * self.config.width**0.5

    def embed(self, items_BL: Tensor, strengths_BL: Tensor) -> Tensor:
        """Input vectors of histories: a start, then two tokens for each event, [B, 2 L + 1, D]."""
        token_BL = strengths_BL.long() + 1
        if self.config.feedback_input == "binary":
            token_BL = (strengths_BL >= self.config.positive_strength).long()
        feedback_BLD = self.feedback(token_BL) * self.config.width**0.5
        x_BTD = interleave(self.start_D, self.item_tokens(items_BL), feedback_BLD)
        if self.places_TD is not None:
            x_BTD = x_BTD + self.places_TD[: x_BTD.shape[1]]
        return self.dropout(x_BTD)

    def next_item_tokens(self, items_BC: Tensor, lengths_B: Tensor) -> Tensor:
        """Input vectors of candidates that follow `lengths_B` tokens of each row, [B, C, 1, D]."""
        x_BCD = self.item_tokens(items_BC)
        if self.places_TD is not None:
            x_BCD = x_BCD + self.places_TD[lengths_B][:, None]
        return self.dropout(x_BCD)[:, :, None]

    def queries(self, x_ND: Tensor) -> Tensor:
        """Vectors whose inner products with `item_vectors` are the logits of the next item."""
        x_ND = unit(x_ND.float()) if self.config.similarity == "cosine" else x_ND
        return x_ND / self.config.temperature

    def item_vectors(self) -> Tensor:
        """A vector per item, as retrieval compares them, [V, D]."""
        return unit(self.items_VD) if self.config.similarity == "cosine" else self.items_VD

    def ranking_logits(self, x: Tensor) -> Tensor:
        """Log-odds of positive feedback from read-out vectors; the last axis is gone."""
        assert self.head is not None, "this model was built for retrieval alone"
        return self.head(x)[..., 0].float()

    def forward(self, batch: Batch) -> Tensor:
        """Weighted loss of the batch's targets in nats, summed; in evaluation the plain sum."""
        marks_BL = batch.is_target_BL
        x_BTD = self.embed(batch.items_BL, batch.strengths_BL)[:, :-1]
        x_BTD, memory = self._encode(x_BTD, interleave_times(batch.times_BL))
        losses = []
        if self.config.retrieves:
            wanted_BL = marks_BL & (batch.strengths_BL >= self.config.retrieval_minimum_strength)
            output_ND = retrieval_places(x_BTD)[wanted_BL]
            wanted = replace(batch, is_target_BL=wanted_BL)
            losses.append(self._retrieval_loss(output_ND, wanted, memory))
        if self.config.ranks:
            read_ND = ranking_places(x_BTD)[marks_BL]
            rests = self.rest is not None and self.rest.has_begun
            logit_N = self.ranking_logits(read_ND.detach() if rests else read_ND)
            label_N = (batch.strengths_BL[marks_BL] >= self.config.positive_strength).float()
            losses.append(F.binary_cross_entropy_with_logits(logit_N, label_N, reduction="sum"))
        if self.weighter is None or not self.training:
            return torch.stack(losses).sum()
        losses_2 = torch.stack(losses)
        weights_2 = self.weighter.weights(losses_2, marks_BL.sum())
        return (weights_2 * losses_2).sum()

    def _encode(self, x_BTD: Tensor, times_BT: Tensor) -> tuple[Tensor, object]:
        """The backbone's vectors, and its memory where the enhancer reads on from there."""
        if self.enhancer is not None and self.training:
            output_BTD, memory = self.backbone.remember(x_BTD, times_BT)
            return output_BTD, memory
        return self.backbone(x_BTD, times_BT), None

    def _retrieval_loss(self, output_ND: Tensor, batch: Batch, memory: object) -> Tensor:
        target_N = batch.items_BL[batch.is_target_BL]
        query_ND, items_VD = self.queries(output_ND), self.item_vectors()
        if not self.config.num_negatives:
            return chunked_softmax_loss(query_ND, items_VD, target_N)
        if self.enhancer is not None and self.training:
            return self._enhanced_loss(self.enhancer, query_ND, items_VD, batch, memory)
        return position_softmax_loss(query_ND, items_VD, target_N, self._draw(len(target_N)))

    def _draw(self, N: int) -> Tensor:
        """Negatives for each position; in evaluation always the same, to be compared by."""
        device = self.items_VD.device
        generator = None if self.training else torch.Generator(device).manual_seed(0)
        shape = (N, self.config.num_negatives)
        return torch.randint(self.num_items, shape, device=device, generator=generator)

    def _enhanced_loss(
        self,
        enhancer: Enhancer,
        query_ND: Tensor,
        items_VD: Tensor,
        batch: Batch,
        memory: object,
    ) -> Tensor:
        """Loss against negatives that the ranking head has a say in."""
        marks_BL, config = batch.is_target_BL, self.config
        target_N, event_N = batch.items_BL[marks_BL], batch.events_BL
        event_N = None if event_N is None else event_N[marks_BL]
        shape = (len(target_N), config.pool)
        drawn_NP = torch.randint(self.num_items, shape, device=query_ND.device)
        with torch.no_grad():
            logits_NP = _in_chunks(query_ND, items_VD, drawn_NP)
            ranking_NP = contextual_scores(self, drawn_NP, logits_NP, batch, memory)
            chosen = choose(config, drawn_NP, target_N, logits_NP, ranking_NP)
            later_NL = F.pad(batch.items_BL, (0, LATER), value=PAD).unfold(1, LATER, 1)[:, 1:]
            scored_N = ~ranking_NP.isnan().all(1)
            enhancer.note(chosen, drawn_NP, event_N, scored_N, later_NL[marks_BL])
        # What doesn't count is put as the right item, which is never its own negative.
        negative_NR = drawn_NP.gather(1, chosen.negative_NR)
        negative_NR = negative_NR.where(chosen.counts_NR, target_N[:, None])
        return position_softmax_loss(query_ND, items_VD, target_N, negative_NR)

    def training_state(self) -> dict[str, Tensor]:
        """What later steps depend on beside the weights."""
        return {
            f"{owner}.{name}": value
            for owner, part in self._remembering().items()
            for name, value in part.state().items()
        }

    def restore_training(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `training_state` gave."""
        for owner, part in self._remembering().items():
            own = {k.partition(".")[2]: v for k, v in state.items() if k.startswith(owner)}
            part.restore(own)

    def _remembering(self) -> dict[str, Weighter | Enhancer | Rest]:
        parts = {"weighter": self.weighter, "enhancer": self.enhancer, "rest": self.rest}
        return {name: part for name, part in parts.items() if part is not None}

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch of training: points of its curves."""
        found: dict[str, float] = {}
        for part in self._remembering().values():
            found |= part.end_epoch(total)
        return found

    def train(self, mode: bool = True) -> "Unigrf":
        """As every module's; what is trained on makes what was searched in old."""
        if mode:
            self.index.clear()
        super().train(mode)
        return self

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose widest array fits into `answers.CHUNK_CELLS`."""
        return answers.rows_at_once(self, queries, num_candidates)

    def read(self, queries: Queries) -> UnigrfState:
        """Run the histories once."""
        state: UnigrfState = answers.read(self, queries)
        return state

    def select(self, state: UnigrfState, rows: np.ndarray) -> UnigrfState:
        """Some of the rows."""
        selected: UnigrfState = answers.select(self, state, rows)
        return selected

    def recommend(self, state: UnigrfState, k: int) -> TopK:
        """The k items most likely to come next after each context."""
        lists: TopK = answers.recommend(self, self.index.of(self), state, k)
        return lists

    def rank(self, state: UnigrfState, items_BC: np.ndarray) -> np.ndarray:
        """Probability that each candidate, were it next, got positive feedback, [B, C]."""
        probability_BC: np.ndarray = answers.rank(self, state, items_BC)
        return probability_BC


def _in_chunks(query_ND: Tensor, items_VD: Tensor, drawn_NP: Tensor) -> Tensor:
    """`candidate_logits`, some rows at a time; without gradient, so that nothing is kept."""
    rows = zip(query_ND.split(ROWS), drawn_NP.split(ROWS), strict=True)
    return torch.cat([candidate_logits(query, items_VD, drawn) for query, drawn in rows])
