"""The adaptive policy's extra passes: the variational bound before and after a step, whose gain is the policy's reward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.networks.modules.denoiser import per_image
from trainables.randomness import normal
from trainables.timesteps.adaptive import Adaptive, AdaptiveDraws
from trainables.training.beside import Beside, Step


def start(settings: Adaptive, draws: AdaptiveDraws) -> Beside:
    return Passes(settings, draws)


class Passes(Beside):
    """Their state is the policy's."""

    def __init__(self, settings: Adaptive, draws: AdaptiveDraws) -> None:
        self._settings, self._draws = settings, draws

    def before_step(self, step: Step) -> Callable[[], None] | None:
        if step.index % self._settings.update_every:
            return None
        before_all, before_chosen = self._terms(step)

        def after() -> None:
            after_all, after_chosen = self._terms(step)
            gain = (before_all - after_all).cpu().numpy()
            reward = (before_chosen - after_chosen).sum(1)
            self._draws.learn(step.batch.clean, reward, gain, step.ranks.average_gradients)

        return after

    def _terms(self, step: Step) -> tuple[Tensor, Tensor]:
        """Variational terms in bits per dimension: of one image at all levels [T], and of the batch at the chosen ones [count, S].

        The levels are shared among the ranks; noise belongs to the step, so that before and after see the same.
        """
        clean, labels, ranks, seed = step.batch.clean, step.batch.labels, step.ranks, self._draws.seed
        device, shape = clean.device, tuple(clean.shape[1:])
        one = ranks.gather(clean)[step.index % (len(clean) * ranks.world)][None]
        label = None if labels is None else ranks.gather(labels)[step.index % (len(labels) * ranks.world)][None]
        share = -(-self._settings.levels // ranks.world)
        mine = torch.arange(ranks.rank * share, (ranks.rank + 1) * share).clamp(max=self._settings.levels - 1)
        noise = normal(seed, f"policy levels/{step.index}", int(mine[0]), len(mine), shape).to(device)
        parts = []
        for part in mine.split(256):
            its = None if label is None else label.expand(len(part), -1)
            parts.append(self._bits(step, one.expand(len(part), *shape), its, noise[part - mine[0]], part))
        everything = ranks.gather(torch.cat(parts))[: self._settings.levels]

        noise = normal(seed, "policy batch", step.batch.first, len(clean), shape).to(device)
        columns = [self._bits(step, clean, labels, noise, torch.full((len(clean),), int(level))) for level in self._draws.chosen]
        self._draws.evaluations += len(mine) + len(columns) * len(clean)
        return everything, torch.stack(columns, 1)

    def _bits(self, step: Step, clean: Tensor, labels: Tensor | None, noise: Tensor, level: Tensor) -> Tensor:
        """The terms of images [N,C,H,W] at a level each [N]."""
        log_snr = torch.from_numpy(self._draws.grid)[level].float().to(clean.device)
        with torch.no_grad():
            noisy, _ = step.denoiser.corrupt(clean, noise, log_snr)
            denoised = step.denoiser.target.denoise(step.denoiser(noisy, log_snr, labels), noisy, per_image(log_snr, noisy))
        error = (denoised - clean).double().square().flatten(1).mean(1)
        return self._draws.bits(error, level)
