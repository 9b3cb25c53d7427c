"""RQ-VAE and CRQ-VAE: what both inherit, the network, the loop, and what contrast adds."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from tests.suites.quantizer import QuantizerSuite
from training.evaluation.tokenizer import consistency, neighbour_pairs
from training.tokenizers import load_tokenizer
from training.tokenizers.autoencoder import QuantizedAutoencoder
from training.tokenizers.autoencoder_fit import MovingAverage
from training.tokenizers.crq_vae import CrqVae, CrqVaeConfig
from training.tokenizers.rq_vae import RqVae, RqVaeConfig

SMALL = {
    "codebook_size": 8,
    "latent_width": 8,
    "hidden_width": 16,
    "warmup_epochs": 4,
    "epochs": 4,
    "batch_size": 64,
}


class TestRqVae(QuantizerSuite):
    kind = "rq_vae"
    settings: ClassVar[dict] = {**QuantizerSuite.settings, **SMALL, "sphere": False}


class TestCrqVae(QuantizerSuite):
    kind = "crq_vae"
    settings: ClassVar[dict] = {**QuantizerSuite.settings, **SMALL, "codebooks": "ema"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def items():
    centres = torch.randn((12, 16), generator=generator(1)) * 3
    return centres.repeat_interleave(20, 0) + torch.randn((240, 16), generator=generator(2))


def network(items, **changes):
    shape = {"latent_width": 8, "hidden_width": 16, "num_levels": 3, "codebook_size": 8}
    torch.manual_seed(0)
    made = QuantizedAutoencoder(items.shape[1], **{**shape, "sphere": False, **changes})
    made.begin_with_axes(items)
    return made


def initialise(made, x, seed=0):
    return made.initialise_codebooks(x, iterations=10, generator=generator(seed), max_points=999)


def test_training_begins_with_the_main_axes(items):
    made = network(items)
    x = made.normalised(items)
    assert float(x.mean(0).abs().max()) < 1e-5
    assert float(x.square().mean()) == pytest.approx(1, abs=1e-5)
    latent = made.latent(x)
    _, _, axes = torch.linalg.svd(x, full_matrices=False)
    torch.testing.assert_close(
        latent.square().sum(0), (x @ axes[:8].T).square().sum(0), rtol=1e-3, atol=1e-3
    )
    # What is on the axes comes back.
    torch.testing.assert_close(made.latent(made.decoder(latent)), latent, rtol=1e-3, atol=1e-3)


def test_more_latent_numbers_than_axes_are_passed_over(items):
    made = network(items[:, :4], latent_width=9)
    x = made.normalised(items[:, :4])
    torch.testing.assert_close(made.decoder(made.latent(x)), x, rtol=1e-3, atol=1e-3)


def test_latents_on_a_sphere_have_one_length_and_the_mean_item_has_none(items):
    made = network(items, sphere=True)
    length = made.encode(items).norm(dim=1)
    torch.testing.assert_close(length, torch.full_like(length, 8**0.5))
    assert made.encode(items.mean(0, keepdim=True)).norm() < 1e-2


def test_codebooks_are_initialised_once_and_a_saved_network_remembers_it(items):
    made = network(items)
    x = made.normalised(items)
    assert not made.is_initialised
    assert initialise(made, x) is not None
    codebooks = made.codebooks.detach().clone()
    assert initialise(made, x, seed=9) is None
    loaded = QuantizedAutoencoder.of_state(made.state_dict())
    assert initialise(loaded, x, seed=9) is None
    assert torch.equal(loaded.codebooks, codebooks)


def test_a_fitted_tokenizer_keeps_that_its_codebooks_were_made(items, tmp_path):
    RqVae.fit(items, RqVaeConfig(**SMALL)).save(tmp_path)
    assert bool(load_tokenizer(tmp_path).state["is_initialised"])


def test_positives_have_no_say_in_the_initial_codebooks(items, monkeypatch):
    seen = []
    real = QuantizedAutoencoder.initialise_codebooks

    def initialise_codebooks(self, x_ND, **named):
        seen.append(x_ND)
        return real(self, x_ND, **named)

    monkeypatch.setattr(QuantizedAutoencoder, "initialise_codebooks", initialise_codebooks)
    hub = torch.stack([torch.arange(1, 240), torch.zeros(239, dtype=torch.int64)], 1)
    CrqVae.fit(items, CrqVaeConfig(**SMALL, given_share=1.0), hub)
    assert [len(x) for x in seen] == [240]
    torch.testing.assert_close(seen[0], network(items).normalised(items))


def test_codewords_carry_gradient_to_the_codebooks_alone(items):
    made = network(items)
    initialise(made, made.normalised(items))
    latent = made.encode(items[:5]).detach().requires_grad_()
    codes, words = made.quantize(latent)
    words.sum().backward()
    assert latent.grad is None
    touched = made.codebooks.grad.abs().sum(2) > 0
    for level in range(3):
        assert set(torch.nonzero(touched[level]).flatten().tolist()) == set(
            codes[:, level].tolist()
        )


def test_a_dead_code_is_revived_at_what_is_described_worst(items):
    made = network(items)
    x = made.normalised(items)
    initialise(made, x)
    with torch.no_grad():
        made.codebooks[0, 3] = 1e4
    revived = made.revive_codes(x)
    assert torch.nonzero(revived).tolist()[0] == [0, 3]
    assert revived[0].sum() == 1
    codes, _ = made.quantize(made.latent(x))
    assert 3 in codes[:, 0].tolist()


def test_codes_that_no_item_has_are_retired(items):
    made = network(items)
    x = made.normalised(items)
    initialise(made, x)
    with torch.no_grad():
        made.codebooks[1, 2] = 1e4
    levels = made.retire_codes(x)
    assert not made.is_used[1, 2]
    assert levels[1]["used_codes"] == 7
    assert float(made.codebooks[1, 2].detach().abs().sum()) == 0
    assert [level["residual_share"] for level in levels] == sorted(
        (level["residual_share"] for level in levels), reverse=True
    )


def test_a_moving_average_ends_at_the_mean_of_what_its_code_stands_for():
    codebooks = torch.tensor([[[0.0], [10.0], [7.0]]])
    is_used = torch.tensor([[True, True, False]])
    average = MovingAverage(codebooks, is_used, 0.5)
    codes, targets = torch.tensor([[0], [0], [1]]), torch.tensor([[[1.0]], [[3.0]], [[12.0]]])
    average.update(codes, targets)
    # N: 1 → 1.5 and 1 → 1; M: 0 → 2 and 10 → 11; smoothing moves the fifth digit.
    assert codebooks[0, :2, 0].tolist() == pytest.approx([4 / 3, 11], rel=1e-4)
    assert float(codebooks[0, 2]) == 7
    for _ in range(40):
        average.update(codes, targets)
    assert codebooks[0, :2, 0].tolist() == pytest.approx([2, 12], rel=1e-4)
    codebooks[0, 0] = -5
    average.restart(torch.tensor([[True, False, False]]))
    average.update(codes[2:], targets[2:])
    assert float(codebooks[0, 0]) == pytest.approx(-5, rel=1e-4)


@pytest.mark.parametrize("kind", [RqVae, CrqVae])
def test_training_lowers_its_losses(items, kind):
    config = kind.config_class(**{**SMALL, "epochs": 12})
    epochs = kind.fit(items, config).report["epochs"]
    assert len(epochs) == 16
    assert "quantization" not in epochs[0]
    assert epochs[-1]["quantization"] < epochs[4]["quantization"]
    assert epochs[-1]["reconstruction"] < epochs[4]["reconstruction"]
    assert ("contrast" in epochs[0]) == (kind is CrqVae)


def test_no_training_leaves_k_means_on_the_axes(items):
    config = RqVaeConfig(**{**SMALL, "warmup_epochs": 0, "epochs": 0, "sphere": False})
    fitted = RqVae.fit(items, config)
    assert fitted.report["epochs"] == []
    assert fitted.report["levels"][0]["residual_share"] == pytest.approx(
        fitted.report["initialised"][0]["residual_share"], rel=1e-4
    )


@pytest.mark.parametrize("carrier", ["straight_through", "codeword", "residual", "assignment"])
def test_who_learns_from_the_contrast_of_codes(items, carrier):
    """Without reconstruction's and quantization's part only contrast moves anything."""
    from training.tokenizers.autoencoder_fit import Encoded
    from training.tokenizers.crq_vae import PrefixContrast
    from training.tokenizers.positives import Positives

    config = CrqVaeConfig(**SMALL, contrasted=carrier)
    made = network(items)
    initialise(made, made.normalised(items))
    positives = Positives.of(items, None, num_neighbours=5, share=0.0)

    def encode(rows):
        latent = made.latent(made.normalised(items[rows]))
        return Encoded(latent, *made.quantize(latent), made.codebooks.detach(), made.is_used)

    rows = torch.arange(0, 240, 3)
    PrefixContrast(positives, config)(encode, rows, encode(rows), generator()).backward()
    encoder = made.encoder.straight.weight.grad
    codebooks = made.codebooks.grad
    assert (encoder is not None and float(encoder.abs().sum()) > 0) == (carrier != "codeword")
    moves_codewords = carrier in ("straight_through", "codeword")
    assert (codebooks is not None and float(codebooks.abs().sum()) > 0) == moves_codewords
    if codebooks is not None:
        assert float(codebooks[-1].abs().sum()) == 0


def test_contrast_makes_items_that_belong_together_share_prefixes(items):
    """Items n and n + 120 are unlike, but the pairs say that they belong together."""
    pairs = torch.stack([torch.arange(240), (torch.arange(240) + 120) % 240], 1)
    settings = {**SMALL, "warmup_epochs": 30, "epochs": 5, "num_neighbours": 0, "given_share": 1.0}
    agreement = {}
    for weight in (0.0, 10.0):
        weights = {"contrast_weight": weight, "warmup_contrast_weight": weight}
        codes = CrqVae.fit(items, CrqVaeConfig(**settings, **weights), pairs).encode(items)
        agreement[weight] = consistency(codes, pairs)[0]["agreement"]
    assert agreement[10.0] > agreement[0.0] + 0.25


def test_contrast_with_neighbours_keeps_neighbours_together(items):
    config = CrqVaeConfig(**SMALL)
    codes = CrqVae.fit(items, config).encode(items)
    found = consistency(codes, neighbour_pairs(items, torch.arange(240)))[0]
    assert found["agreement"] > 0.9
    assert found["lift"] > 4


def test_siblings_that_are_told_apart_collide_less(items):
    unique = {}
    for weight in (0.0, 10.0):
        settings = {**SMALL, "epochs": 40, "num_neighbours": 0, "sibling_weight": weight}
        codes = CrqVae.fit(items, CrqVaeConfig(**settings)).encode(items)
        unique[weight] = len(torch.unique(codes, dim=0))
    assert unique[10.0] > unique[0.0]


def test_noise_is_of_the_items_and_another_in_every_batch(items):
    from training.tokenizers.autoencoder_fit import GLOBAL, _Fit

    items = torch.cat([items, items.new_zeros(240, 1)], 1)  # what no item varies in stays
    fit = _Fit(items, CrqVaeConfig(**SMALL, noise=0.5), GLOBAL, None)
    first, second = fit._noise(200), fit._noise(200)
    assert not torch.equal(first, second)
    assert float(first[:, -1].abs().max()) == 0
    assert 0.5**2 / 6 < float(first.square().mean()) < 0.5**2 / 2  # E[u²] = 1/3


def test_no_pairs_at_all_are_told_and_neighbours_take_over(items):
    config = CrqVaeConfig(**SMALL, given_share=1.0)
    for pairs in (None, torch.zeros((0, 2), dtype=torch.int64)):
        fitted = CrqVae.fit(items, config, pairs)
        assert fitted.report["positives"]["pairs_given"] == 0
        assert fitted.report["positives"]["items_with_neighbours"] == 240
        assert float(fitted.report["epochs"][0]["contrast"]) > 0


def test_neither_pairs_nor_neighbours_leave_nothing_to_contrast(items):
    config = CrqVaeConfig(**SMALL, num_neighbours=0, sibling_weight=0.0)
    fitted = CrqVae.fit(items, config)
    assert fitted.report["positives"]["items_without_positive"] == 240
    assert {epoch["contrast"] for epoch in fitted.report["epochs"]} == {0.0}


def test_a_last_batch_of_one_is_trained_on_without_contrast(items):
    config = CrqVaeConfig(**{**SMALL, "batch_size": 64})
    fitted = CrqVae.fit(items[:65], config)
    assert torch.isfinite(fitted.codebooks_QKH).all()
    assert all(value == value for epoch in fitted.report["epochs"] for value in epoch.values())


@pytest.mark.parametrize("kind", [RqVae, CrqVae])
def test_a_catalogue_of_three_items_is_told_apart(kind):
    items = torch.eye(3, 16)
    codes = kind.fit(items, kind.config_class(**SMALL)).encode(items)
    assert len(torch.unique(codes, dim=0)) == 3


def test_pairs_change_crq_vae_and_nothing_else(items):
    pairs = torch.tensor([[0, 200], [5, 130]])
    plain = RqVae.fit(items, RqVaeConfig(**SMALL))
    assert RqVae.fit(items, RqVaeConfig(**SMALL), pairs).digest == plain.digest
    config = CrqVaeConfig(**SMALL)
    assert CrqVae.fit(items, config, pairs).digest != CrqVae.fit(items, config).digest
    with pytest.raises(ValueError, match="1 of 1 pairs are not of two of the 240 items"):
        CrqVae.fit(items, config, torch.tensor([[0, 240]]))


def test_a_fit_leaves_the_state_of_torchs_own_draws_alone(items):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    RqVae.fit(items, RqVaeConfig(**SMALL))
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": -1, "latent_width": 0}, "latent_width is 0, expected at least 1; epochs is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0, expected at least 0 and below 1"),
        ({"temperature": 0.0}, "temperature is 0.0, expected a number above 0"),
        ({"softness": 0.0}, "softness is 0.0, expected a number above 0"),
        ({"noise": -1.0}, "noise is -1.0, expected at least 0"),
        ({"sibling_weight": -1.0}, "sibling_weight is -1.0, expected at least 0"),
        ({"given_share": 1.5}, "given_share is 1.5, expected from 0 to 1"),
        ({"contrast_weight": -1.0}, "contrast_weight is -1.0, expected at least 0"),
        ({"batch_size": 1}, "batch_size is 1, expected at least 2: the negatives of an item"),
    ],
)
def test_values_out_of_range_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        replace(CrqVaeConfig(**SMALL), **changes)


def test_settings_come_from_the_section_and_by_kind():
    section = {
        "kind": "crq_vae",
        "num_levels": 4,
        "codebook_size": 32,
        "collisions": "suffix",
        "settings": {"crq_vae": {"temperature": 0.3, "codebook_size": 16}, "rq_vae": {"epochs": 1}},
    }
    config = CrqVae.config_from(section)
    assert (config.num_levels, config.codebook_size, config.temperature) == (4, 16, 0.3)
    assert RqVae.config_from(section) == RqVaeConfig(num_levels=4, codebook_size=32, epochs=1)
    with pytest.raises(ValueError, match=r"crq_vae has no setting \['temprature'\]; it has"):
        CrqVae.config_from({"settings": {"crq_vae": {"temprature": 1}}})
    with pytest.raises(ValueError, match=r"crq_vae.contrasted is 'both', expected one of"):
        CrqVae.config_from({"settings": {"crq_vae": {"contrasted": "both"}}})
