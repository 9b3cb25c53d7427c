"""Where items that weren't shown come from: what the tables' side and training agree on."""

from typing import Literal

from pydantic import ConfigDict, Field

from feature_store.preset import Section


class PseudoExposures(Section):
    """Whether a preset wants a model's own beams, and how wide they are."""

    pseudo_exposures_from: Literal["sampled", "beams"] = "sampled"
    """`sampled`: drawn from the catalogue of the slate's day; `beams`: the best of what the
    champion would have shown in the slate's place, as `sample_beams` wrote it the day before, and
    drawn where there is no beam. Asks for the protocol `rolling`."""
    beam_items: int = Field(default=64, ge=1)
    """Items of a beam, of which those are left out that the user had been shown."""


class PseudoExposuresOnly(PseudoExposures):
    """The same of a section that says more, which is another package's to judge."""

    model_config = ConfigDict(extra="ignore")
