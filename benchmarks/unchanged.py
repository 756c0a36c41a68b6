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

from srlib import data, depth, infer, metrics, models, restore, rock, rubber, train
from srlib.metrics import borders, grey
from srlib.stream import superres_to_file

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
        found.update(json.dumps(value, sort_keys=True, default=_plain).encode())
    return found.hexdigest()[:16]


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else sorted(map(str, value))


def trainings():
    """Name and weights of every kind of training, after a few steps."""
    small = dict(iterations=STEPS, check_every=STEPS // 2, width=4, slices=2, batch=1, **CPU)
    cases = {name: data.load(name, "twin", 1, 64) for name in ("case1", "case2", "case3")}
    cases |= {name: data.load(name, "twin", 1, 96) for name in ("case4", "electrode")}
    cases["slicegan"] = data.load("slicegan", "twin", 1, 64)
    cases["rock"] = rock.case("twin", 0, edge=24, images=3, image_edge=24)
    for name, case in cases.items():
        yield name, train.fit_superres(case, "laptop", 0, **small)
    recipe = replace(train.Recipe(), width=4)
    yield "CNN", train.fit_cnn(cases["case3"], STEPS, 0, recipe=recipe, **CPU)
    grain = np.random.default_rng(0).normal(size=(6, 64, 64)).astype(np.float32).clip(-1, 1)
    pairs = train.Pairs(grain, np.tanh(grain), np.ones((64, 64), bool))
    tiny = train.RestorationRecipe(steps=STEPS, crop=32, batch=2, width=4)
    for method in train.METHODS:
        yield f"restoration {method}", train.fit_restorer(pairs, method, 0, tiny, **CPU)
    yield "diffusion", train.fit_diffusion(pairs, 0, tiny, **CPU)
    labels = (grain > 0).astype(np.uint8)
    yield "segmentation", train.fit_segmenter(grain, labels, steps=STEPS, width=4, **CPU)
    stack = rubber.stack("easy", 0, (16, 64, 64))
    short = train.DepthRecipe(steps=STEPS)
    for method in train.DEPTH_METHODS:
        yield f"depth {method}", train.fit_depth(stack, 4, method, 0, short, **CPU)
    style = train.SynthesisRecipe(
        iterations=STEPS, batch=4, edge=16, latent=8, width=4, widest=8, check_every=20, span=20
    )
    yield "StyleGAN2", train.fit_stylegan(cases["case3"].hr, 3, 0, style, **CPU)


def outputs():
    """Name and array of what shipped networks make."""
    net, lr = models.load("case3-twin-0"), data.load("case3", "twin", 1, 64).lr
    for tile in (4, 8, 16):
        yield f"superres, tile {tile}", infer.superres(net, lr, 3, tile, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "lr.tif", Path(folder) / "sr.tif"
        tifffile.imwrite(source, lr)
        superres_to_file(net, source, target, 3, 8, progress=False)
        yield "superres, streamed", tifffile.imread(target)
    slicegan = models.load("slicegan-twin-0")
    yield "generate", infer.generate(slicegan, (32, 32, 32), 1, periodic=True, progress=False)
    fine = rubber.stack("easy", 1, (32, 64, 64))
    net = models.load("rubber4-twin-0")
    yield "depth", depth.restore(net, np.ascontiguousarray(fine[:: net.n]))
    grain = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32).clip(-1, 1)
    net = models.load("indi-twin-0")
    for steps in (1, 8):
        yield f"restoration, {steps} steps", restore.restore(net, grain, steps)


def measures():
    """Name and value of metrics on fixed arrays."""
    truth = data.load("electrode", "twin", 3, 64).truth
    other, lr = np.roll(truth, 3, 1), data.load("electrode", "twin", 3, 64).lr
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
    yield "descriptors", metrics.descriptors(truth)
    yield "consistency", metrics.consistency(truth, lr, 4, "blur", [[1, 0], [0, 1], [1, 0]])
    compared = metrics.compare(truth, other, 20)
    yield "compare", {str(k): v for k, v in compared.items()}
    a = np.random.default_rng(1).normal(size=(64, 64)).cumsum(0)
    b = a + np.random.default_rng(2).normal(size=(64, 64))
    yield "PSNR", grey.psnr(a, b)
    yield "SSIM", grey.ssim(a, b)
    yield "Dice", borders.dice(a > 0, b > 0)
    yield "boundary F", borders.boundary_f(a > 0, b > 0)
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
