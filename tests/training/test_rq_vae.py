from typing import ClassVar

from tests.suites.quantizer import QuantizerSuite


class TestRqVae(QuantizerSuite):
    kind = "rq_vae"
    settings: ClassVar[dict] = {
        **QuantizerSuite.settings,
        "latent_width": 8,
        "hidden_width": 16,
        "epochs": 8,
        "batch_size": 64,
    }


class TestRqVaeWithMovingAverages(TestRqVae):
    settings: ClassVar[dict] = {**TestRqVae.settings, "codebooks": "ema", "ema_decay": 0.9}


class TestCrqVae(TestRqVae):
    kind = "crq_vae"


class TestCrqVaeWithMovingAverages(TestRqVaeWithMovingAverages):
    kind = "crq_vae"
