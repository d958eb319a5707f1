"""Number formats and the size of what is computed at once."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

from pydantic import Field, field_validator

from trainables.method import Settings

Precision = Literal["fp32", "bf16", "fp16"]


class Arithmetic(Settings):
    """Weights, optimiser and averages are float32 always; `precision` is that of the network's inner products."""

    precision: Precision = Field("fp32", description="format of convolutions and matrix products")
    loss_scaling: float = Field(
        1.0, gt=0, description="factor on the loss against underflow in fp16, taken out of the gradients again; "
        "in fp16 only the first one unless nonfinite is zero: it is halved when gradients overflow, doubled after 2,000 steps without"
    )
    nonfinite: Literal["skip", "zero"] = Field(
        "skip", description="a step with non-finite gradients is skipped, or taken with zeros in their place, as EDM2 does"
    )
    compile: Literal[False, "default", "reduce-overhead", "max-autotune"] = Field(
        False, description="mode of torch.compile for the network; reduce-overhead and max-autotune capture CUDA graphs and need a GPU; "
        "on CPUs the first step takes a minute or more for no gain"
    )
    activation_checkpointing: bool = Field(
        False, description="keep the inputs of the network's blocks alone, and compute the rest again in the backward pass: the same "
        "numbers from less memory, for about a third more work"
    )
    parallel: Literal["replicas", "shards"] = Field(
        "replicas", description="what each of several workers holds: all weights, moments and averages (DistributedDataParallel), or some "
        "rows of them (FSDP2's fully_shard), for networks that are too large for one GPU"
    )
    deterministic: bool = Field(
        False, description="on GPUs, algorithms alone that give the same numbers each time (PyTorch's use_deterministic_algorithms); "
        "slower; CPUs give the same numbers in any case"
    )
    micro_batch: int = Field(0, ge=0, description="images per backward pass and worker; gradients are accumulated; 0 is all at once")

    @field_validator("compile", mode="before")
    @classmethod
    def _true_is_a_mode(cls, value: Any) -> Any:
        return "default" if value is True else value

    def problem_on(self, device: str) -> str:
        """What cannot be done on this type of device; empty if nothing."""
        if self.compile in ("reduce-overhead", "max-autotune") and device != "cuda":
            return f"arithmetic.compile: {self.compile} captures CUDA graphs, and training is on the CPU: use default, or false."
        return ""

    def autocast(self, device: str) -> Any:
        """Context in which the network runs."""
        return autocast(self.precision, device)


def autocast(precision: Precision, device: str) -> Any:
    """Context in which inner products have this format."""
    if precision == "fp32":
        return contextlib.nullcontext()
    import torch

    return torch.autocast(device, torch.bfloat16 if precision == "bf16" else torch.float16)
