"""What a restored slice and a restored volume cost: 1, 8 and 12 steps, whole and in tiles."""

import numpy as np

from benchmarks.bench_models import _seconds
from srlib.inference import restoration
from srlib.models import RestorationUNet

EDGE, SLICES = 640, 104  # of the sample of SY5
TILE = 320


def run() -> dict[str, float]:
    model = RestorationUNet(24).eval()
    image = np.random.default_rng(0).uniform(-1, 1, (EDGE, EDGE)).astype(np.float32)
    out: dict[str, float] = {}
    for steps in (1, 8, 12):
        seconds = _seconds(lambda steps=steps: restoration.restore(model, image, steps), 1)
        out[f"{steps} steps, slice of {EDGE}², s"] = seconds
        out[f"{steps} steps, volume of {SLICES} slices, s"] = seconds * SLICES
    whole = _seconds(lambda: restoration.restore(model, image), 1)
    tiled = _seconds(lambda: restoration.restore(model, image, tile=TILE), 1)
    out[f"tiles of {TILE}², time over whole slice"] = tiled / whole
    away = np.abs(
        restoration.restore(model, image) - restoration.restore(model, image, tile=TILE)
    ).max()
    return out | {"tiles, largest difference of a grey value": float(away)}
