"""The training loop: one recipe, one folder, any number of data-parallel ranks."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.ema.snapshots import write_snapshot
from trainables.ema.tracker import PowerEma
from trainables.errors import ConfigError, TrainingFailed, UserError
from trainables.evaluation.scoring import Evaluator, Score, evaluator_of
from trainables.files import document
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.denoiser import one_hot
from trainables.networks.modules.magnitude import project_weights
from trainables.randomness import Shuffle, normal, torch_seed, uniform
from trainables.recipe import Recipe
from trainables.stage_key import stage_key
from trainables.timesteps.policy import Step
from trainables.training import checkpoint, metrics_log
from trainables.training.batch import Batch, average_gradients, gather, image_losses
from trainables.training.checkpoint import Counters
from trainables.training.diagnostics import Diagnostics
from trainables.training.optimiser_state import optimiser_tensors
from trainables.training.progress import Progress
from trainables.training.resume import state_of

SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Ranks:
    """This process's place among the data-parallel ones, and the device that it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def train(recipe: Recipe, folder: Path, cache: Path, ranks: Ranks | None = None,
          pulse: Callable[[], None] = lambda: None) -> Iterator[Progress]:
    """Train one recipe into `folder` and yield at each intermediate evaluation; closing the iterator stops early.

    A finished run yields its last report again.

    Goes on from the folder's checkpoint if there is one, with the same numbers as an unbroken run.  Leaves the recipe,
    the stored averages and the checkpoint; `cache` keeps what runs share (the feature network).  `pulse` is called at every
    step and with every batch of generated images: this process is alive.
    Raises ConfigError where the recipe does not fit the data, TrainingFailed after too many non-finite steps.
    """
    run = _Run(recipe, folder, cache, ranks or Ranks(), pulse)
    if run.done:
        yield run.recalled()
    while not run.done:
        started = time.perf_counter()
        first, every = run.counters.images, recipe.evaluation.every
        run.train_until(min((first // every + 1) * every, recipe.duration.images))
        seconds = time.perf_counter() - started
        run.counters.train_seconds += seconds
        yield run.report((run.counters.images - first) / seconds)


class _Run:
    """The state of one run between two reports."""

    def __init__(self, recipe: Recipe, folder: Path, cache: Path, ranks: Ranks, pulse: Callable[[], None] = lambda: None) -> None:
        if recipe.duration.batch_size % ranks.world:
            raise ConfigError(f"duration.batch_size = {recipe.duration.batch_size} cannot be divided among {ranks.world} workers")
        self.recipe, self.folder, self.cache, self.ranks, self.pulse = recipe, folder, cache, ranks, pulse
        self.key = self._stage_key()
        self.data = recipe.data.load()
        if self._stage_key() != self.key:
            raise UserError("data: the files were changed while they were read; run again when they are complete")
        self.shuffle = Shuffle(recipe.seed, len(self.data.images))
        self.draws = recipe.timesteps.start(recipe.schedule, recipe.seed, recipe.duration.batch_size)
        self.denoiser = build_denoiser(recipe, self.data).to(ranks.device)
        self.head, self.learned = self._build_head(), recipe.weighting.learned()
        adam = recipe.optimiser
        parameters = [*self.denoiser.parameters(), *(self.head.parameters() if self.head else ())]
        self.optimiser = torch.optim.Adam(parameters, lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps, fused=True)
        self.ema = PowerEma(self.denoiser, recipe.ema.sigma_rels)
        self.counters = Counters()
        self._restore()
        if recipe.arithmetic.compile:
            self.denoiser.network.compile()  # in place: the names of the parameters stay
        self.model: nn.Module = self.denoiser
        if ranks.world > 1:
            self.model = DistributedDataParallel(self.denoiser, broadcast_buffers=False)
        self.evaluator = evaluator_of(recipe, cache, pulse) if ranks.rank == 0 else None  # before training: it may find something missing
        self.losses: list[float] = []
        self.diagnostics = Diagnostics(recipe, self.denoiser)
        if ranks.rank == 0:
            document.write(folder / "recipe.json", recipe.model_dump(mode="json"))
            metrics_log.drop_after(folder, self.counters.images)

    @property
    def done(self) -> bool:
        return self.counters.images >= self.recipe.duration.images

    def train_until(self, images: int) -> None:
        """Steps up to `images` seen; stores the averages on the way."""
        batch = self.recipe.duration.batch_size
        self.losses = []
        while self.counters.images < images:
            self._step()
            self.pulse()
            self.counters.images += batch
            self.ema.update(self.counters.images, batch)
            if self.counters.images % self.recipe.ema.snapshot_every == 0 or self.done:
                self._store_averages()

    def recalled(self) -> Progress:
        """The last report of a run that was at its end when it was taken up."""
        rows = metrics_log.read(self.folder)
        last = {key: value for key, value in rows[-1].items() if key not in ("images", "time", "feature_hash")} if rows else {}
        return Progress(self.counters.images, last, True)

    def report(self, images_per_second: float) -> Progress:
        """Score the tracked averages, write the checkpoint, and tell."""
        metrics = {
            "loss": sum(self.losses) / len(self.losses) if self.losses else math.nan,
            "learning_rate": self.recipe.optimiser.learning_rate(self.counters.images),
            "images_per_second": images_per_second,
            "train_seconds": self.counters.train_seconds,
            "nonfinite_steps": float(self.counters.nonfinite_steps),
            **self.diagnostics.take(), **self.draws.report(),
        }
        density = self.draws.density()
        if density is not None:
            metrics |= {f"density/{i:02d}": float(value) for i, value in enumerate(density)}
        evaluator = self.evaluator
        if evaluator:
            score, width = self._best_average(evaluator)
            metrics |= {f"interim_{evaluator.metric}": score.distance, "interim_sigma_rel": width}
            row = {"images": self.counters.images, "time": time.time(), "feature_hash": score.feature_hash, **metrics}
            metrics_log.append(self.folder, row)
            checkpoint.save(self.folder, self.key, self.counters, self._state())
        return Progress(self.counters.images, metrics, self.done)

    def _best_average(self, evaluator: Evaluator) -> tuple[Score, float]:
        """The best score among the tracked widths on the same latents, and its width."""
        averaged = build_denoiser(self.recipe, self.data).to(self.ranks.device)
        averaged.load_state_dict(self.denoiser.state_dict())  # buffers are copied, not averaged
        scores = []
        for width in self.recipe.ema.sigma_rels:
            self.ema.copy_to(width, averaged)
            score = evaluator.score(averaged, self.recipe.evaluation.interim_samples, interim=True, pulse=self.pulse)
            scores.append((score, width))
        return min(scores, key=lambda scored: scored[0].distance)

    def _step(self) -> None:
        """One optimiser step on this rank's share of the global batch."""
        recipe, images = self.recipe, self.counters.images
        project_weights(self.denoiser)
        if self.head:
            project_weights(self.head)
        if getattr(recipe.network, "dropout", 0.0):
            torch.manual_seed(torch_seed(recipe.seed, f"dropout/{self.ranks.rank}", images))
        self.optimiser.param_groups[0]["lr"] = recipe.optimiser.learning_rate(images)
        batch = self._next_batch()
        step = Step(self.denoiser, batch.clean, batch.labels, images // recipe.duration.batch_size, batch.first,
                    self.ranks.rank, self.ranks.world, self._gather)
        after = self.draws.around_step(step)
        if self.learned:
            self.learned.before_step(recipe, step, batch.log_snr, batch.noise)
            factor = self.learned.factor(batch.log_snr.double().cpu().numpy())
            batch = replace(batch, weight=batch.weight * torch.from_numpy(factor).to(batch.weight))
        self.diagnostics.before_step(batch, images)
        losses = self._backward(batch)
        everyone = self._gather(losses)
        value = everyone.mean().item()
        if math.isfinite(value):
            self.losses.append(value / math.prod(self.data.shape))
            if self.draws.observes_losses or self.diagnostics.wanted:
                levels = self._gather(batch.log_snr).double().cpu().numpy()
                observed = everyone.double().cpu().numpy()
                self.diagnostics.observe(levels, observed / math.prod(self.data.shape))
                self.draws.observe(levels, observed)
        else:
            self._skip_nonfinite()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if after:
            after()

    def _next_batch(self) -> Batch:
        """This rank's images, noise, levels and weights: all functions of the global sample index."""
        recipe, device = self.recipe, self.ranks.device
        count = recipe.duration.batch_size // self.ranks.world
        first = self.counters.images + self.ranks.rank * count
        positions = self.shuffle(first, count)
        clean = self.data.whitened(positions).to(device)
        levels, correction = self.draws.draw(first, count, clean)
        log_snr = torch.from_numpy(levels).to(device)
        weight = recipe.weighting.weight(log_snr, recipe.target)
        if correction is not None:
            weight = weight * torch.from_numpy(correction).to(device)
        if recipe.importance_base is not None:
            weight = weight * (recipe.importance_base.log_prob(log_snr) - recipe.schedule.log_prob(log_snr)).exp()
        noise = normal(recipe.seed, "training noise", first, count, self.data.shape).to(device)
        labels = one_hot(torch.from_numpy(self.data.labels[positions]).to(device), self.data.classes)
        if labels is not None and recipe.label_dropout:
            kept = uniform(recipe.seed, "label dropout", first, count) >= recipe.label_dropout
            labels = labels * torch.from_numpy(kept).to(device)[:, None]
        return Batch(first, clean, noise, labels, log_snr.float(), weight.float())

    def _backward(self, batch: Batch) -> Tensor:
        """Gradients of the mean loss over the global batch, in parts of at most `micro_batch` images; the losses [count]."""
        settings = self.recipe.arithmetic
        parts = batch.split(settings.micro_batch or len(batch))
        losses = []
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            wait = contextlib.nullcontext() if last or self.ranks.world == 1 else self.model.no_sync()  # type: ignore[operator]
            with wait:
                loss = image_losses(self.model, self.denoiser, part, settings, self.head)
                (loss.sum() * (settings.loss_scaling / len(batch))).backward()
            losses.append(loss.detach())
        if settings.loss_scaling != 1.0:
            torch._foreach_div_([p.grad for p in self.optimiser.param_groups[0]["params"] if p.grad is not None], settings.loss_scaling)
        if self.head:
            average_gradients(self.head, self.ranks.world)
        return torch.cat(losses)

    def _gather(self, values: Tensor) -> Tensor:
        return gather(values, self.ranks.world)

    def _skip_nonfinite(self) -> None:
        """Zero what is not finite, as EDM2 does, and give up when it happens too often."""
        self.counters.nonfinite_steps += 1
        for parameter in self.optimiser.param_groups[0]["params"]:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0, out=parameter.grad)
        if self.counters.nonfinite_steps > self.recipe.max_nonfinite_steps:
            raise TrainingFailed(
                f"{self.counters.nonfinite_steps} steps had a non-finite loss by {self.counters.images} images "
                f"(max_nonfinite_steps = {self.recipe.max_nonfinite_steps}): lower optimiser.lr or look at the data"
            )

    def _store_averages(self) -> None:
        if self.ranks.rank:
            return
        names = [name for name, _ in self.denoiser.named_parameters()]
        raw, dtype = list(self.denoiser.parameters()), self.recipe.ema.snapshot_format
        for width, tensors in self.ema.averages.items():
            write_snapshot(self.folder / SNAPSHOTS, self.counters.images, width, tensors, names, raw, dtype)

    def _build_head(self) -> nn.Module | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self.recipe.seed, "weighting head"))
            head = self.recipe.weighting.head()
        return head.to(self.ranks.device) if head else None

    def _stage_key(self) -> str:
        return stage_key(self.recipe, self.cache, self.ranks.world, self.ranks.device.type)

    def _restore(self) -> None:
        stored = state_of(self.folder, self.recipe, self.key)
        if stored:
            self.counters, tensors = stored
            self.draws.restore({k.removeprefix("draws/"): v for k, v in tensors.items() if k.startswith("draws/")})
            if self.learned:
                self.learned.restore({k.removeprefix("learned/"): v for k, v in tensors.items() if k.startswith("learned/")})
            with torch.no_grad():
                for name, tensor in self._state().items():
                    if not name.startswith(("draws/", "learned/")):
                        tensor.copy_(tensors[name])

    def _state(self) -> dict[str, Tensor]:
        named = {f"network/{name}": tensor for name, tensor in self.denoiser.state_dict().items()}
        named |= {f"head/{name}": tensor for name, tensor in (self.head.state_dict() if self.head else {}).items()}
        named |= {f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(self.optimiser).items()}
        named |= {f"ema/{w}/{i}": tensor for w, tensors in self.ema.averages.items() for i, tensor in enumerate(tensors)}
        if self.learned:
            named |= {f"learned/{name}": tensor for name, tensor in self.learned.state().items()}
        return named | {f"draws/{name}": tensor for name, tensor in self.draws.state().items()}
