"""``srlib restore``: a poor scan restored by what a good scan of a part of it shows."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from srlib.cli.errors import one_sentence

STEPS = {"CNN": 1, "InDI": 8}  # of the restoration
PLACEMENT = "placement.json"
KINDS = (".tif", ".tiff", ".zarr", ".nrrd", ".mha")  # of outputs that take the name of an input


@click.command()
@click.argument("scans", nargs=-1, required=True)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path))
@click.option("--method", type=click.Choice(list(STEPS), case_sensitive=False), default="CNN")
@click.option("--factor", type=int, help="Voxels of HIGH along one of LOW, if no file states it.")
@click.option("--steps", type=int, default=1500, show_default=True, help="Of the training.")
@click.option("--model", help="A network of an earlier call: restore SCANS by it, train nothing.")
@click.option("--save", type=click.Path(path_type=Path), help="For it; beside OUT by default.")
@click.option("--seed", default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
def restore(scans, out, method, factor, steps, model, save, seed, overwrite) -> None:
    """Restore a scan; learn how from a good scan of the same sample.

    SCANS are LOW and HIGH, two grey volumes of one region; HIGH may show a part of LOW, in finer
    voxels, shifted or turned a little. A slab of HIGH is held out to judge. OUT shows all of LOW in
    the voxels and grey values of HIGH. With --model, SCANS are further volumes or time steps, and
    OUT is a folder if there are several. The same command goes on after an interruption.
    """
    with one_sentence():
        if model:
            if factor is not None or save is not None:
                raise ValueError("--factor and --save belong to a training: leave out --model")
            for path in _restore_by(model, scans, out, overwrite):
                click.echo(path)
            return
        if len(scans) != 2:
            raise ValueError(
                f"name two scans, LOW and HIGH, not {len(scans)}, or add --model to restore "
                "further scans"
            )
        if steps < 1:
            raise ValueError(f"--steps {steps} should be 1 or more")
        _learn_and_restore(scans, out, method, factor, steps, save, seed, overwrite)


def read_grey(path: str):
    """A scan that was read and is a grey volume."""
    from srlib.data import io
    from srlib.data.fill import sample_sections
    from srlib.metrics.checks import MAX_PHASES

    image = io.read(path)
    name, values = Path(path).name, image.values
    if values.ndim != 3 or min(values.shape) < 2:
        raise ValueError(f"{name} has the shape {tuple(values.shape)}: a volume is needed")
    if values.dtype.kind not in "uif":
        raise ValueError(f"{name} holds {values.dtype}, not grey values")
    if len(np.unique(np.stack(sample_sections(values, most=8)))) <= MAX_PHASES:
        raise ValueError(
            f"{name} holds so few values that it must be segmented: give the grey scan itself"
        )
    for note in image.notes:
        click.echo(f"{name}: {note}")
    return image


def _restore_by(model: str, scans, out: Path, overwrite: bool):
    """Check all scans, then restore one after another; gives the path of each."""
    from srlib import models
    from srlib.data import io
    from srlib.inference import scans as inference

    network = models.load(model)
    several = len(scans) > 1 or out.is_dir() and out.suffix != ".zarr"
    targets = [out / _name(scan) if several else out for scan in scans]
    if len({str(t) for t in targets}) < len(targets):
        raise ValueError("two of the scans have the same name: restore them one by one")
    if several and out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for several scans")
    images = []
    for scan, target in zip(scans, targets, strict=True):
        io.check_output(scan, target, overwrite)
        image = read_grey(scan)
        inference.check_scan(network, image.values)
        images.append((image, _sizes(network, image, scan)))
    network.to(_device())
    for (image, size), target in zip(images, targets, strict=True):
        about = _description(network.meta)
        yield inference.restore_scan(network, image.values, target, size, description=about)


def _name(scan: str) -> str:
    """Name of an output in a folder: that of the input, of a kind that can be written."""
    path = Path(scan.replace(":/", "-").replace("/", "_") if ".h5:" in scan else scan)
    stem, kind = path.stem, path.suffix if path.suffix in KINDS else ".tif"
    return f"{stem.removesuffix('.ome')}{'.ome' if stem.endswith('.ome') else ''}{kind}"


def _sizes(network, image, name: str) -> tuple | None:
    """Voxel size of the output, if the scan has that of the training."""
    about = network.meta["scan"]
    mine, learned = image.voxel_size, about["low_voxel"]
    if mine and learned and all(mine) and all(learned):
        if any(abs(a / b - 1) > 0.02 for a, b in zip(mine, learned, strict=True)):
            one, other = (" x ".join(f"{v:.4g}" for v in size) for size in (mine, learned))
            raise ValueError(
                f"{Path(name).name} has voxels of {one} um, the scan of the training {other} um: "
                "train on a pair with these voxels"
            )
    size = mine if mine and all(mine) else learned
    return _divided(size, about["factor"])


def _divided(size: tuple | None, factor) -> tuple | None:
    if not size:
        return None
    return tuple(v / f if v else None for v, f in zip(size, factor, strict=True))


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _description(meta: dict) -> str:
    return f"srlib restore: {meta['method']}, seed {meta['seed']}, data {meta['scan']['data']}"


def _learn_and_restore(scans, out, method, factor, steps, save, seed, overwrite) -> None:
    from srlib import models, storage, training
    from srlib.data import io, pairs
    from srlib.inference import scans as inference

    method = next(m for m in STEPS if m.lower() == method.lower())
    save = save or out.with_name(f"{out.name}.safetensors")
    if save.suffix != ".safetensors":
        raise ValueError(f"{save.name} must end in .safetensors")
    unfinished = out.absolute().with_name(f".unfinished-{out.name}")
    io.check_output(scans, out, overwrite or unfinished.exists())
    if save.exists() and not overwrite and not unfinished.exists():
        raise ValueError(f"{save} is there already: name another with --save, or --overwrite")
    if Path(scans[0]).resolve() == Path(scans[1]).resolve():
        raise ValueError("LOW and HIGH are the same file: name two scans")
    low, high = (read_grey(scan) for scan in scans)
    sizes = (low.voxel_size, high.voxel_size)
    factors, whence = pairs.factors(*sizes, low.values.shape, high.values.shape, factor)
    data = _fingerprint(low.values, high.values)
    key = json.dumps([data, sizes, factors, method, steps, seed], default=str)
    click.echo(f"{' x '.join(map(str, factors))} voxels of HIGH for one of LOW, {whence}")
    pair, about = _paired(low, high, factors, unfinished, key, overwrite)
    _tell(about, (high.values.shape, factors))

    parts = pairs.held_out(pair.hq.shape, max(factors))
    mask = np.broadcast_to(pair.mask, pair.hq.shape)
    for name, part in parts.items():
        if mask[part].mean() < 0.05:
            raise ValueError(f"the part of HIGH to {name} is empty where LOW shows the sample")
    note = {"key": key, "placement": about["placement"]}  # a training goes on from the very same
    storage.write_atomic(unfinished / PLACEMENT, json.dumps(note).encode())
    learn = parts["train"]
    edge = min(96, *(n // 8 * 8 for n in pair.hq[learn].shape[1:]))
    recipe = replace(training.RestorationRecipe(), steps=steps, crop=edge)
    crops = training.Pairs(pair.lq[learn], pair.hq[learn], mask[learn])
    how: dict[str, Any] = dict(out=unfinished / "training.pt", save_every=50)
    model = training.fit_restorer(crops, method, seed, recipe, **how)
    model.meta["scan"] = {
        "factor": list(factors),
        "limits": list(pair.limits),
        "hq_limits": list(pair.hq_limits),
        "dtype": high.values.dtype.newbyteorder("=").str,
        "steps": STEPS[method],
        "low_voxel": low.voxel_size,
        "high_voxel": high.voxel_size,
        "correlation": about["correlation"],
        "psnr_ssim": None,
        "data": data[:12],
    }
    scores = inference.judge(model, pair, **parts)
    model.meta["scan"]["psnr_ssim"] = scores
    _report(scores)
    del pair, crops
    how = dict(fill=tuple(about["fills"][0]), description=_description(model.meta))
    size = _divided(low.voxel_size, factors) or high.voxel_size
    inference.restore_scan(model, low.values, out, size, **how)
    for volatile in ("seconds", "threads", "losses"):
        model.meta.pop(volatile, None)
    models.save(model.to("cpu"), save, model.meta)
    shutil.rmtree(unfinished)
    click.echo(f"{out} and {save}: for further scans, srlib restore --model {save} SCAN -o OUT")


def _fingerprint(*volumes) -> str:
    """SHA-256 of the grey values of both scans."""
    key = hashlib.sha256()
    for volume in volumes:
        key.update(repr((volume.shape, str(volume.dtype))).encode())
        for plane in volume:
            key.update(np.ascontiguousarray(plane).data)
    return key.hexdigest()


def _paired(low, high, factors, folder: Path, key: str, overwrite: bool):
    """The pair, at the place that an interrupted call has found, if there was one."""
    from srlib.data import pairs

    kept, placement = folder / PLACEMENT, None
    if kept.exists():
        found = json.loads(kept.read_text())
        if found["key"] == key:
            placement = found["placement"]
        elif not overwrite:
            raise ValueError(
                f"{folder} is left of a run with other scans or options: repeat that command to "
                "finish it, choose another -o, or give --overwrite to begin anew"
            )
        else:
            shutil.rmtree(folder)
    ratio = None
    if low.voxel_size and high.voxel_size and all(low.voxel_size) and all(high.voxel_size):
        ratio = tuple(a / b for a, b in zip(low.voxel_size, high.voxel_size, strict=True))
    how: dict[str, Any] = dict(ratio=ratio, placement=placement, progress=True)
    pair, about = pairs.from_scans(low.values, high.values, factors, **how)
    return pair, about


def _tell(about: dict, high) -> None:
    for name, values in zip(("LOW", "HIGH"), about["fills"], strict=True):
        if values:
            numbers = ", ".join(f"{v:g}" for v in values)
            click.echo(f"{name}: {numbers} marks what was not measured; it is left out")
    if any(p.stop - p.start < n - f for p, n, f in zip(about["high_part"], *high, strict=True)):
        words = ", ".join(f"{p.start} to {p.stop - 1}" for p in about["high_part"])
        click.echo(f"HIGH is large: the voxels {words} are used to learn and judge")
    shift = ", ".join(f"{round(v, 1) + 0.0:.1f}" for v in about["shift"])
    click.echo(
        f"registered: HIGH begins at ({shift}) of LOW, in voxels of HIGH; "
        f"correlation {about['correlation']:.2f}"
    )


def _report(scores: dict) -> None:
    rows = [f"{'on the held-out slab':24} {'PSNR':>8} {'SSIM':>6}"]
    rows += [f"{name:24} {psnr:5.2f} dB {ssim:6.3f}" for name, (psnr, ssim) in scores.items()]
    click.echo("\n".join(rows))
    if scores["network"][0] <= scores["cubic interpolation"][0]:
        click.echo(
            "the network is no better than interpolation there: do not rely on it; more --steps "
            "or a larger HIGH may help"
        )
