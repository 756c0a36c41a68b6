"""Number format: bf16 where the processor has it and 32-bit numbers elsewhere, never imitated."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib import precision
from srlib.inference import superres
from srlib.models import SuperResLite

NAMES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.fixture(params=[(False, False), (True, False), (False, True)], ids=["old", "avx512", "amx"])
def fast(request, monkeypatch) -> bool:
    """A processor with one of the two sets of instructions, or without any."""
    for name, there in zip(NAMES, request.param, strict=True):
        monkeypatch.setattr(torch.cpu, name, lambda there=there: there)
    wide = "AVX512" if any(request.param) else "AVX2"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: wide)
    return any(request.param)


def test_bf16_only_where_the_processor_has_it(fast):
    assert precision.number_format() == (torch.bfloat16 if fast else torch.float32)
    with precision.autocast():
        out = F.conv3d(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3))
    assert out.dtype == precision.number_format("cpu")
    assert out.item() == 27


def test_a_processor_that_is_told_to_be_old_is_taken_for_old(monkeypatch):
    """ATEN_CPU_CAPABILITY=avx2 shows on a new processor what an old one does."""
    monkeypatch.setattr(torch.cpu, NAMES[1], lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert precision.number_format() == torch.float32


def test_inference_runs_in_that_format(fast):
    model, seen = SuperResLite(2, 2, 4, width=8).eval(), []
    model.head.register_forward_hook(lambda module, x, out: seen.append(out.dtype))
    superres.superres(model, np.ones((6, 6, 6), np.uint8), progress=False)
    assert set(seen) == {precision.number_format()}


def test_a_torch_that_cannot_say_gets_32_bit_numbers(monkeypatch):
    for name in NAMES:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert precision.number_format() == torch.float32


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_graphics_cards_from_ampere_on(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision.number_format("cuda") == (torch.bfloat16 if fast else torch.float32)
