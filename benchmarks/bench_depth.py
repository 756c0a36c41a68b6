"""What the depth of a stack costs: a step of a training, and restoring, beside interpolation."""

import numpy as np

from benchmarks.bench_models import _seconds
from srlib import models, training
from srlib.inference import depth
from srlib.physics import sectioning

SHAPE = (16, 192, 192)  # measured sections
STEPS = 10


def run() -> dict[str, float]:
    few = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    out: dict[str, float] = {}
    for n in (2, 4, 8):
        recipe = training.DepthRecipe(steps=STEPS)
        for method in ("CNN", "SRGAN"):
            model = training.fit_depth(few, n, method, recipe=recipe, progress=False)
            out[f"n = {n}, step of the {method}, s"] = model.meta["seconds"] / STEPS
        out[f"n = {n}, step of the SRGAN over CNN"] = (
            out[f"n = {n}, step of the SRGAN, s"] / out[f"n = {n}, step of the CNN, s"]
        )
    for n in (2, 8):
        model = models.DepthGenerator(n).eval()
        seconds = _seconds(lambda n=n, model=model: depth.restore(model, few, progress=False), 1)
        plain = _seconds(lambda n=n: sectioning.fill(few, n, "cubic"), 1)
        out[f"n = {n}, restoring, millions of voxels a second"] = few.size * n / seconds / 1e6
        out[f"n = {n}, restoring, time over cubic interpolation"] = seconds / plain
    return out
