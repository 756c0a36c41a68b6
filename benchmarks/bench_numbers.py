"""A training step in the number formats, and with 3D convolutions as they are or as 2D ones."""

from contextlib import ExitStack
from unittest.mock import patch

import torch
from torch import nn
from tqdm.std import tqdm

from benchmarks.bench_models import step_seconds
from srlib import precision
from srlib.models import layers


def run() -> dict:
    """Seconds of a generator step in each way, and how much faster the chosen way is."""
    chosen = precision.number_format()
    bf16 = patch.object(precision, "number_format", lambda device: torch.bfloat16)
    fp32 = patch.object(precision, "number_format", lambda device: torch.float32)
    plain = patch.object(layers.Conv3d, "forward", nn.Conv3d.forward)
    out = {"number format chosen here": str(chosen).removeprefix("torch.")}
    for name, patches in tqdm(
        {"32 bit, 2D": [fp32], "32 bit, 3D": [fp32, plain], "bf16": [bf16]}.items(), "numbers"
    ):
        with ExitStack() as stack:
            for one in patches:
                stack.enter_context(one)
            out[f"generator step, {name} (s)"] = step_seconds("laptop", 3)
    two, three, half = list(out.values())[1:]
    out["32 bit, 2D against 3D, ratio"] = three / two
    out["chosen format against the other, ratio"] = (
        two / half if chosen == torch.bfloat16 else half / two
    )
    return out
