"""What every residual quantizer must do; a test class inherits this and says how to fit."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from training.tokenizers import TOKENIZERS, load_tokenizer
from training.tokenizers.interface import DESCRIPTION, WEIGHTS, TokenizerCorruptError
from training.tokenizers.quantize import residual_quantize


class QuantizerSuite:
    """Inherit and set `kind`; override `settings` for a kind with more knobs."""

    kind = ""
    settings: ClassVar[dict] = {"num_levels": 3, "codebook_size": 8, "iterations": 20, "seed": 0}

    def fit(self, embeddings_ND, **changes):
        tokenizer_class = TOKENIZERS[self.kind]
        config = tokenizer_class.config_from({**self.settings, **changes})
        return tokenizer_class.fit(embeddings_ND, config)

    @pytest.fixture(scope="class")
    def embeddings(self):
        generator = torch.Generator().manual_seed(1)
        centres = torch.randn((12, 16), generator=generator) * 3
        groups = torch.randint(12, (400,), generator=generator)
        return centres[groups] + torch.randn((400, 16), generator=generator)

    @pytest.fixture(scope="class")
    def fitted(self, embeddings):
        return self.fit(embeddings)

    def test_codes_have_one_column_per_level_within_the_codebook(self, fitted, embeddings):
        codes = fitted.encode(embeddings)
        assert codes.shape == (400, 3)
        assert codes.dtype == torch.int64
        assert 0 <= int(codes.min()) <= int(codes.max()) < 8

    def test_a_codebook_is_reconstructed_from_its_own_codes(self, fitted):
        # A codeword of the first level is its own nearest, at distance 0.
        words = fitted.codebooks_QKH[0][fitted.is_used_QK[0]]
        codes, _ = residual_quantize(words, fitted.codebooks_QKH, fitted.is_used_QK)
        assert codes[:, 0].tolist() == torch.nonzero(fitted.is_used_QK[0]).squeeze(1).tolist()

    def test_more_levels_describe_items_better(self, fitted, embeddings):
        shares = [level["residual_share"] for level in fitted.report["levels"]]
        assert shares == sorted(shares, reverse=True)
        error = (fitted.reconstruct(fitted.encode(embeddings)) - embeddings).square().mean()
        assert error < 0.5 * embeddings.var()

    def test_save_and_load_gives_bit_equal_codes(self, fitted, embeddings, tmp_path):
        fitted.save(tmp_path)
        loaded = load_tokenizer(tmp_path)
        assert type(loaded) is type(fitted)
        assert loaded.digest == fitted.digest
        assert loaded.report == fitted.report
        assert all(torch.equal(loaded.state[name], fitted.state[name]) for name in fitted.state)
        assert torch.equal(loaded.encode(embeddings), fitted.encode(embeddings))

    def test_saving_twice_gives_the_same_bytes(self, fitted, tmp_path):
        for folder in ("one", "two"):
            fitted.save(tmp_path / folder)
        for name in (WEIGHTS, DESCRIPTION):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_the_same_seed_gives_the_same_tokenizer_and_another_seed_another(
        self, fitted, embeddings
    ):
        assert self.fit(embeddings).digest == fitted.digest
        assert self.fit(embeddings, seed=1).digest != fitted.digest

    def test_codes_of_an_item_do_not_depend_on_its_company(self, fitted, embeddings):
        whole = fitted.encode(embeddings)
        assert torch.equal(fitted.encode(embeddings[37:41]), whole[37:41])

    def test_a_codebook_larger_than_the_catalogue_leaves_codes_unused(self):
        items = torch.eye(3, 16)
        fitted = self.fit(items, codebook_size=64)
        assert fitted.report["levels"][0]["used_codes"] == 3
        codes = fitted.encode(items)
        assert len(torch.unique(codes, dim=0)) == 3
        assert torch.isfinite(fitted.reconstruct(codes)).all()
        assert fitted.is_used_QK[0][codes[:, 0]].all()

    def test_equal_items_get_equal_codes(self):
        items = torch.ones((5, 16))
        codes = self.fit(items).encode(items)
        assert len(torch.unique(codes, dim=0)) == 1

    def test_a_catalogue_of_one_item_works(self):
        item = torch.arange(16.0).unsqueeze(0)
        fitted = self.fit(item)
        assert torch.allclose(fitted.reconstruct(fitted.encode(item)), item, atol=1e-4)

    def test_no_items_to_encode_give_no_codes(self, fitted):
        assert fitted.encode(torch.zeros((0, 16))).shape == (0, 3)

    def test_vectors_that_are_not_finite_are_refused(self, fitted, embeddings):
        broken = embeddings.clone()
        broken[[5, 9], 3] = torch.tensor([np.nan, np.inf])
        with pytest.raises(ValueError, match=r"2 of 400 embeddings hold NaN .* rows \[5, 9\]"):
            fitted.encode(broken)
        with pytest.raises(ValueError, match="2 of 400 embeddings hold NaN"):
            self.fit(broken)
        with pytest.raises(ValueError, match="no embeddings to fit a tokenizer on"):
            self.fit(embeddings[:0])

    def test_a_changed_file_is_refused(self, fitted, tmp_path):
        fitted.save(tmp_path)
        data = bytearray((tmp_path / WEIGHTS).read_bytes())
        data[-5] ^= 1
        (tmp_path / WEIGHTS).write_bytes(bytes(data))
        with pytest.raises(TokenizerCorruptError, match="its description says"):
            load_tokenizer(tmp_path)
        (tmp_path / WEIGHTS).write_bytes(bytes(data[: len(data) // 2]))
        with pytest.raises(TokenizerCorruptError, match="can't be read"):
            load_tokenizer(tmp_path)

    def test_a_wrong_description_is_refused(self, fitted, tmp_path):
        fitted.save(tmp_path)
        description = json.loads((tmp_path / DESCRIPTION).read_text())
        (tmp_path / DESCRIPTION).write_text(json.dumps({**description, "kind": "unheard-of"}))
        with pytest.raises(TokenizerCorruptError, match="kind 'unheard-of'; known are"):
            load_tokenizer(tmp_path)
        with pytest.raises(TokenizerCorruptError, match="of kind 'unheard-of', not"):
            type(fitted).load(tmp_path)
        del description["digest"]
        (tmp_path / DESCRIPTION).write_text(json.dumps(description))
        with pytest.raises(TokenizerCorruptError, match=r"lacks \['digest'\]"):
            load_tokenizer(tmp_path)
        (tmp_path / DESCRIPTION).write_text("{")
        with pytest.raises(TokenizerCorruptError, match=r"tokenizer.json can't be read"):
            load_tokenizer(tmp_path)
