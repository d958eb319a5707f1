"""What a recipe says about scoring. Importing this loads no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from trainables.method import Settings
from trainables.metrics import AnyFeatures
from trainables.metrics.features import few_samples
from trainables.metrics.probe import Probe
from trainables.metrics.samples import SampleMetric
from trainables.optimisers.arithmetic import Precision
from trainables.sampling import AnySampler
from trainables.sampling.guidance import Guidance
from trainables.sampling.heun import Heun


class Evaluation(Settings):
    """How a set of weights is scored; the noise is fixed by `seed`, so that all variants see the same latents."""

    features: AnyFeatures = Field(default_factory=Probe, description="feature space of the Fréchet distance that variants are compared by")
    also: tuple[AnyFeatures, ...] = Field((), description="further feature spaces in which the same images are scored")
    sample_metrics: tuple[SampleMetric, ...] = Field(
        (), description="further metrics in every feature space; prdc is precision, recall, density and coverage; "
        "memorisation is the share of images nearer to a training image than 95 % of the held-out ones (0.05 where none is memorised)"
    )
    sampler: AnySampler = Field(default_factory=lambda: Heun(num_steps=12), description="sampler")
    guidance: Guidance = Field(default_factory=Guidance, description="guidance in sampling")
    samples: int = Field(1_024, ge=2, description="generated images per score in the EMA sweep")
    batch_size: int = Field(256, ge=1, description="generated images per batch")
    every: int = Field(25_600, ge=1, description="training images between two intermediate scores")
    interim_samples: int = Field(512, ge=2, description="generated images per intermediate score")
    precision: Precision = Field("fp32", description="format of the network's inner products while sampling")
    compile: bool = Field(False, description="torch.compile the network for sweeps; pays on GPUs with many samples")
    seed: int = Field(0, ge=0, description="seed of the evaluation noise, shared by all variants")

    @property
    def metric_names(self) -> set[str]:
        """Metrics that every score has."""
        spaces = [self.features, *self.also]
        names = {s.metric for s in spaces}
        for space in (s.space for s in spaces):
            names |= {f"kid_{space}"} if "kid" in self.sample_metrics else set()
            names |= {f"{n}_{space}" for n in ("precision", "recall", "density", "coverage")} if "prdc" in self.sample_metrics else set()
            names |= {f"memorisation_{space}"} if "memorisation" in self.sample_metrics else set()
            names |= {f"frechet_infinity_{space}"} if "frechet_infinity" in self.sample_metrics else set()
        if "inception_score" in self.sample_metrics and any(s.space == "inception" for s in spaces):
            names.add("inception_score")
        return names

    @property
    def warnings(self) -> list[str]:
        found = [few_samples("evaluation.samples", self.samples, space) for space in (self.features, *self.also)]
        return [text for text in (*found, few_samples("evaluation.interim_samples", self.interim_samples, self.features)) if text]

    @model_validator(mode="after")
    def _spaces_differ(self) -> Evaluation:
        names = [f.metric for f in (self.features, *self.also)]
        if len(set(names)) < len(names):
            raise ValueError(f"features and also: each feature space may be given once, and these give {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _inception_score_has_its_network(self) -> Evaluation:
        if "inception_score" in self.sample_metrics and not any(s.space == "inception" for s in (self.features, *self.also)):
            raise ValueError("sample_metrics: inception_score needs the classes of inception: name it in features or also, or leave it out")
        return self
