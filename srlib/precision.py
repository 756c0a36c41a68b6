"""The number format of convolutions: bf16 where the processor has it, else 32-bit numbers."""

import torch


def number_format(device: str | torch.device = "cpu") -> torch.dtype:
    """Format in which convolutions are fastest on a device.

    A processor without instructions for bf16 (AVX-512 BF16 or AMX) has to imitate them, many times
    slower than 32-bit numbers: see ``python -m benchmarks numbers``.

    Args:
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        ``torch.bfloat16`` or ``torch.float32``. Outputs in the two differ in a few voxels
        in borderline places, so make one volume with one format.
    """
    if torch.device(device).type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        # Private functions of torch: where a version lacks them, 32-bit numbers are the safe way.
        names = "_is_avx512_bf16_supported", "_is_amx_tile_supported"
        wide = torch.backends.cpu.get_cpu_capability() != "AVX2"  # ATEN_CPU_CAPABILITY=avx2 narrows
        fast = wide and any(getattr(torch.cpu, name, bool)() for name in names)
    return torch.bfloat16 if fast else torch.float32


def autocast(device: str | torch.device = "cpu") -> torch.autocast:
    """A context in which convolutions run in :func:`number_format`."""
    dtype = number_format(device)
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=dtype == torch.bfloat16)
