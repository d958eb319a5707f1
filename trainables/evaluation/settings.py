"""What a recipe says about scoring. Importing this loads no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, FieldSerializationInfo, field_serializer, model_validator

from trainables.method import Settings
from trainables.metrics import AnyFeatures
from trainables.metrics.features import few_samples
from trainables.metrics.per_sample import AnySampleMetric, SampleMetric
from trainables.metrics.per_sample.inception_score import InceptionScore
from trainables.metrics.probe import Probe
from trainables.optimisers.arithmetic import Precision
from trainables.sampling import AnySampler
from trainables.sampling.guidance import Guidance
from trainables.sampling.heun import Heun


class Evaluation(Settings):
    """How a set of weights is scored; the noise is fixed by `seed`, so that all variants see the same latents."""

    features: AnyFeatures = Field(default_factory=Probe, description="feature space of the Fréchet distance that variants are compared by")
    also: tuple[AnyFeatures, ...] = Field((), description="further feature spaces in which the same images are scored")
    sample_metrics: tuple[AnySampleMetric, ...] = Field((), description="further metrics, in every feature space")
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
        return {s.metric for s in spaces} | {name for s in spaces for metric in self.sample_metrics for name in metric.names(s.space)}

    @field_serializer("sample_metrics")
    def _by_name(self, metrics: tuple[SampleMetric, ...], info: FieldSerializationInfo) -> list[Any] | tuple[Any, ...]:
        """A metric without settings of its own is its name."""
        shown = [metric.model_dump(mode=info.mode) for metric in metrics]
        short = [fields["kind"] if fields.keys() == {"kind"} else fields for fields in shown]
        return short if info.mode == "json" else tuple(short)

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
        wanted = any(isinstance(metric, InceptionScore) for metric in self.sample_metrics)
        if wanted and not any(s.space == "inception" for s in (self.features, *self.also)):
            raise ValueError("sample_metrics: inception_score needs the classes of inception: name it in features or also, or leave it out")
        return self
