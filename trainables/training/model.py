"""What a run trains: the denoiser, what is learned beside it, their optimiser, and the averages of the weights."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.data import ImageData
from trainables.ema.classical_tracker import ClassicalEmas
from trainables.ema.tracker import PowerEma
from trainables.networks.modules.activation_checkpointing import checkpoint_blocks
from trainables.networks.modules.build import starting_denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.optimisers.optimiser_state import optimiser_tensors
from trainables.randomness import torch_seed
from trainables.recipe import Recipe
from trainables.training.batch import Batch, Losses, image_losses
from trainables.training.ranks import Ranks
from trainables.training.steps import Steps


class Model:
    """Initialised as a function of the recipe's seed alone, or from the start in `folder`; `launch` comes after a state has been
    restored, if there is one."""

    def __init__(self, recipe: Recipe, data: ImageData, ranks: Ranks, folder: Path = Path()) -> None:
        self._recipe, self._ranks = recipe, ranks
        self.denoiser = starting_denoiser(recipe, data, folder).to(ranks.device)
        self.head = self._build_head()
        self._forced_norm = ForcedNorm(self.denoiser, *([self.head] if self.head else []))
        self.optimiser = recipe.optimiser.build([self.denoiser, *([self.head] if self.head else [])])
        self.steps = Steps(recipe.arithmetic, ranks.device, clip_norm=recipe.optimiser.clip_norm)
        self.ema = PowerEma(self.denoiser, recipe.ema.sigma_rels)
        self.classical = ClassicalEmas(self.denoiser, recipe.ema.classical)
        self._parallel: nn.Module = self.denoiser

    def launch(self) -> None:
        """Compile and join the ranks."""
        if self._recipe.arithmetic.activation_checkpointing:
            checkpoint_blocks(self.denoiser.network)
        if self._recipe.arithmetic.compile:
            self.denoiser.network.compile(mode=self._recipe.arithmetic.compile)  # in place: the names of the parameters stay
        if self._ranks.world > 1:
            self._parallel = DistributedDataParallel(self.denoiser, broadcast_buffers=False)

    def prepare(self, images: int) -> None:
        """Weight norms, dropout and learning rate of the step that begins after `images` images."""
        self._forced_norm()
        if self._recipe.arithmetic.compile:
            torch.compiler.cudagraph_mark_step_begin()  # what captured graphs gave in the step before may be written over
        if getattr(self._recipe.network, "dropout", 0.0):
            torch.manual_seed(torch_seed(self._recipe.seed, f"dropout/{self._ranks.rank}", images))
        rate = self._recipe.optimiser.learning_rate(images, self._recipe.duration.images)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def backward(self, batch: Batch) -> Losses:
        """Gradients of the mean loss over the global batch, times the loss scale; the losses, detached.

        Computed in parts of at most `micro_batch` images.
        """
        settings = self._recipe.arithmetic
        parts = batch.split(settings.micro_batch or len(batch))
        losses = []
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            wait = contextlib.nullcontext() if last or self._ranks.world == 1 else self._parallel.no_sync()  # type: ignore[operator]
            with wait:
                loss = image_losses(self._parallel, self.denoiser, part, settings, self.head)
                (loss.total.sum() * self.steps.factor(len(batch))).backward()
            losses.append(loss)
        if self.head:
            self._ranks.average_gradients(self.head)
        return Losses.join(losses)

    def step(self, mean_loss: Tensor) -> None:
        """Skipped where the mean loss [] over all ranks or a gradient is not finite."""
        self.steps.take(self.optimiser, mean_loss)
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Everything by name, not copied: writing into these tensors restores a state."""
        named = {f"network/{name}": tensor for name, tensor in self.denoiser.state_dict().items()}
        named |= {f"head/{name}": tensor for name, tensor in (self.head.state_dict() if self.head else {}).items()}
        named |= {f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(self.optimiser).items()}
        named |= {f"steps/{name}": tensor for name, tensor in self.steps.state().items()}
        named |= {f"classical/{name}/{i}": tensor for name, ts in self.classical.averages.items() for i, tensor in enumerate(ts)}
        return named | {f"ema/{w}/{i}": tensor for w, tensors in self.ema.averages.items() for i, tensor in enumerate(tensors)}

    def _build_head(self) -> nn.Module | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self._recipe.seed, "weighting head"))
            head = self._recipe.weighting.head()
        return head.to(self._ranks.device) if head else None
