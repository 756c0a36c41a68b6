"""Whether a change of the code leaves the numbers as they are.

``python -m benchmarks.unchanged record FILE`` stores a hash of the weights after short trainings of
every kind, of outputs with shipped weights, and of every metric on fixed arrays, made on one thread
of the CPU; ``compare FILE``, on the same machine after the change, names what differs. A few
minutes. Hashes of another machine differ, so none is stored in the repository.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch

from srlib import datasets, metrics, models, training
from srlib.inference import depth, restoration
from srlib.inference.streaming import superres_to_file
from srlib.inference.superres import generate, superres
from srlib.metrics import image_quality, segmentation
from srlib.synthetic import filled_rubber, sandstone

STEPS = 60
CPU = dict(device="cpu", progress=False)


def digest(value) -> str:
    """SHA-256 of an array, a network's weights, or what JSON can write."""
    found = hashlib.sha256()
    if isinstance(value, torch.nn.Module):
        for name, tensor in value.state_dict().items():
            found.update(name.encode())
            found.update(tensor.detach().float().numpy().tobytes())
    elif isinstance(value, np.ndarray):
        found.update(np.ascontiguousarray(value).tobytes())
    else:
        found.update(json.dumps(_plain(value), sort_keys=True).encode())
    return found.hexdigest()[:16]


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def trainings():
    """Name and weights of every kind of training, after a few steps."""
    small = dict(
        iterations=STEPS, check_every=60, validation_size=8, window=32, width=4, slices=2, **CPU
    )
    cases = {name: datasets.load(name, "twin", 1, 64) for name in ("case1", "case2", "case3")}
    cases |= {name: datasets.load(name, "twin", 1, 96) for name in ("case4", "electrode")}
    cases["slicegan"] = datasets.load("slicegan", "twin", 1, 64)
    cases["rock"] = sandstone.case("twin", 0, edge=24, images=3, image_edge=24)
    recipe = replace(training.Recipe(), width=4)
    yield "CNN", training.fit_cnn(cases["case3"], STEPS, 0, recipe=recipe, **CPU)
    grain = np.random.default_rng(0).normal(size=(6, 64, 64)).astype(np.float32).clip(-1, 1)
    pairs = training.Pairs(grain, np.tanh(grain), np.ones((64, 64), bool))
    tiny = training.RestorationRecipe(steps=STEPS, crop=32, batch=2, width=8)
    for method in training.METHODS:
        yield f"restoration {method}", training.fit_restorer(pairs, method, 0, tiny, **CPU)
    yield "diffusion", training.fit_diffusion(pairs, 0, tiny, **CPU)
    labels = (grain > 0).astype(np.uint8)
    yield "segmentation", training.fit_segmenter(grain, labels, steps=STEPS, width=8, **CPU)
    stack = filled_rubber.stack("easy", 0, (16, 64, 64))
    short = training.DepthRecipe(steps=STEPS)
    for method in training.DEPTH_METHODS:
        yield f"depth {method}", training.fit_depth(stack, 4, method, 0, short, **CPU)
    style = training.SynthesisRecipe(
        iterations=STEPS,
        batch=4,
        edge=16,
        latent=8,
        width=4,
        max_channels=8,
        check_every=20,
        span=20,
    )
    yield "StyleGAN2", training.fit_stylegan(cases["case3"].hr, 3, 0, style, **CPU)
    for name, case in cases.items():
        yield name, training.fit_superres(case, "laptop", 0, **small)


def outputs():
    """Name and array of what shipped networks make."""
    net, lr = models.load("case3-twin-0"), datasets.load("case3", "twin", 1, 64).lr
    for tile in (4, 8, 16):
        yield f"superres, tile {tile}", superres(net, lr, 3, tile, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "lr.tif", Path(folder) / "sr.tif"
        tifffile.imwrite(source, lr)
        superres_to_file(net, source, target, 3, 8, progress=False)
        yield "superres, streamed", tifffile.imread(target)
    slicegan = models.load("slicegan-twin-0")
    yield "generate", generate(slicegan, (32, 32, 32), 1, periodic=True, progress=False)
    fine = filled_rubber.stack("easy", 1, (32, 64, 64))
    net = models.load("rubber4-twin-0")
    yield "depth", depth.restore(net, np.ascontiguousarray(fine[:: net.n]))
    grain = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32).clip(-1, 1)
    net = models.load("indi-twin-0")
    for steps in (1, 8):
        yield f"restoration, {steps} steps", restoration.restore(net, grain, steps)


def measures():
    """Name and value of metrics on fixed arrays."""
    truth = datasets.load("electrode", "twin", 3, 96).truth
    other, lr = np.roll(truth, 3, 1), datasets.load("electrode", "twin", 3, 96).lr
    yield "fractions", metrics.volume_fractions(truth)
    yield "interphase", {str(k): v for k, v in metrics.interphase_areas(truth).items()}
    yield "tpb", metrics.tpb_density(truth)
    yield "two-point", metrics.two_point(truth, 0, 1, 0, 20)
    yield "chords", metrics.chord_lengths(truth, 0, 1)
    yield "reach", metrics.reach_probability(truth, 0, 0, 20)
    yield "anisotropy", metrics.anisotropy(truth)
    yield "imprint", metrics.grid_imprint(truth, 4)
    yield "confusion", metrics.confusion(other, truth)
    yield "transport", metrics.transport_efficiency(truth, 0)
    yield "tortuosity", metrics.tortuosity_factor(truth, 0)
    yield "formation factor", metrics.formation_factor(truth, 0)
    yield "Euler number", metrics.euler_number(truth, 0)
    yield "permeability", metrics.permeability(truth[:24, :24, :24], 0)
    yield "pore sizes", [list(x) for x in metrics.pore_sizes(truth, 0)]
    yield "descriptors", metrics.descriptors(truth, ["pore", "active material", "binder"])
    yield "consistency", metrics.consistency(truth, lr, 4, "blur", [[1, 0], [0, 1], [1, 0]])
    compared = metrics.compare(truth, other, 20)
    yield "compare", {str(k): v for k, v in compared.items()}
    a = np.random.default_rng(1).normal(size=(64, 64)).cumsum(0)
    b = a + np.random.default_rng(2).normal(size=(64, 64))
    yield "PSNR", image_quality.psnr(a, b)
    yield "SSIM", image_quality.ssim(a, b)
    yield "Dice", segmentation.dice(a > 0, b > 0)
    yield "boundary F", segmentation.boundary_f(a > 0, b > 0)
    volume = np.stack([a, b] * 4)
    yield "RMS", metrics.rms_error(volume, volume[::-1])
    yield "seams", metrics.seams(volume, [3])
    yield "isosurface", metrics.isosurface(volume, 0.0)


def hashes() -> dict[str, str]:
    """Hash of everything, by its name."""
    torch.set_num_threads(1)
    found = {}
    for make in (measures, outputs, trainings):
        for name, value in make():
            found[name] = digest(value)
            print(f"{found[name]} {name}", flush=True)
    return found


if __name__ == "__main__":
    word, path = sys.argv[1], Path(sys.argv[2])
    now = hashes()
    if word == "record":
        path.write_text(json.dumps(now, indent=1))
    else:
        before = json.loads(path.read_text())
        changed = [name for name in before if before[name] != now.get(name)]
        sys.exit(f"changed: {', '.join(changed)}" if changed else None)
