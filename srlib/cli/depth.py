"""``srlib depth``: the planes between sections."""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import click

from srlib.cli.errors import one_sentence
from srlib.cli.unfinished import unfinished

AUTO = "  [default: measured]"


@click.command()
@click.argument("stack")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The result.")
@click.option("--n", type=float, help="Spacing of sections over a pixel, 2.5 also; or from STACK.")
@click.option("--pixel-size", type=float, help="Micrometres, if STACK does not say it.")
@click.option("--axis", default=0, show_default=True, help="The depth: 0, 1 or 2.")
@click.option("--align/--no-align", default=None, help="Take slips of sections back." + AUTO)
@click.option("--level/--no-level", default=None, help="Even out their brightness." + AUTO)
@click.option("--mend/--no-mend", default=True, help="Leave bad sections out.  [default: mend]")
@click.option("--missing", type=int, multiple=True, help="Section after which one is missing.")
@click.option("--denoise", is_flag=True, help="Smooth sections, as planes between them are.")
@click.option("--model", help="A .safetensors file, or shipped weights; none: learn from STACK.")
@click.option("--save", type=click.Path(path_type=Path), help="For it; beside OUT by default.")
@click.option("--steps", type=int, help="Of the training, 500 to 1200 by n; 150: a first look.")
@click.option("--seed", default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@click.pass_context
def depth(
    context,
    stack,
    out,
    n,
    pixel_size,
    axis,
    align,
    level,
    mend,
    missing,
    denoise,
    model,
    save,
    steps,
    seed,
    overwrite,
):
    """Restore the planes between the sections of a STACK, at the distance of a pixel.

    It looks at the sections, learns from them (or takes --model), says what to expect, and writes.
    After an interruption the same command goes on.
    """
    from srlib.data.io import read
    from srlib.inference.depth import restore_file

    with one_sentence():
        if model and save:
            raise ValueError("--save belongs to a training: leave out --model, or --save")
        if not model:
            save = save or out.with_name(f"{out.name}.safetensors")
        outputs = [out, save] if save else [out]
        _check_targets(stack, out, outputs)
        image = read(stack)
        for note in image.notes:
            click.echo(note)
        size = _pixels(image, pixel_size, axis)
        n, voxel_size = _spacing(image.values, size, n, axis)
        work = _Work(image.values, n, axis, out.absolute())
        with unfinished(context, outputs, overwrite):
            try:
                work.look(align, level, mend, missing, denoise)
                network = work.network(model, steps, seed, save)
                work.expect(network)
                work.banding(network)
                restored = restore_file(
                    network,
                    work.stack,
                    out,
                    axis,
                    measured=work.measured,
                    phases=work.phases,
                    voxel_size=voxel_size,
                )
            finally:
                work.remove_prepared()
        work.remove_training()
        click.echo(restored)
        if not model:
            click.echo(f"model: {save}, for --model on a further stack")
        click.echo(_places(work.count, n))


def _check_targets(stack: str, out: Path, outputs: list[Path]) -> None:
    """Refuse outputs that cannot be written, before anything is computed."""
    from srlib.data.io import check_output

    check_output(stack, out)
    for path in outputs:
        folder = path.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(
                f"{folder} cannot be written to: choose another folder for {path.name}"
            )
    for save in outputs[1:]:
        if save.suffix != ".safetensors":
            raise ValueError(f"--save {save.name} must end in .safetensors")


def _spacing(source, voxel_size, n: float | None, axis: int) -> tuple:
    """The spacing of the sections over a pixel, of the option or of the file, and voxel sizes."""
    from srlib.physics.sectioning import check_stack

    check_stack(source, 2, axis)
    told = None
    if voxel_size and all(voxel_size):
        *pixel, far = (*(s for a, s in enumerate(voxel_size) if a != axis), voxel_size[axis])
        if abs(pixel[0] / pixel[1] - 1) > 0.02:
            raise ValueError(
                f"the pixels of a section are {pixel[0]:g} x {pixel[1]:g} um, not square: resample "
                f"the sections first, or is the depth another axis than {axis}?"
            )
        told = far / pixel[0]
    if n is None:
        if told is None:
            raise ValueError("the file says no voxel size: give --n, the spacing over a pixel")
        click.echo(f"sections are {told:.4g} pixels apart, by the voxel size of the file")
        n = round(told) if abs(told - round(told)) < 0.005 * told else told
    elif told is not None and abs(n / told - 1) > 0.02:
        raise ValueError(
            f"--n {n:g} contradicts the voxel size of the file, which says {told:.4g} pixels from "
            "section to section: leave --n out, or correct the voxel size in the file"
        )
    n = int(n) if n == int(n) else n
    check_stack(source, n, axis, whole=False)
    pixels = [s for a, s in enumerate(voxel_size or ()) if a != axis and s]
    if pixels and not voxel_size[axis]:
        voxel_size = tuple(n * pixels[0] if a == axis else s for a, s in enumerate(voxel_size))
    return n, voxel_size


def _pixels(image, pixel_size: float | None, axis: int) -> tuple | None:
    """The voxel size of a stack, the pixels from the option if the file does not say them."""
    known = image.voxel_size
    if pixel_size is None:
        return known
    if not pixel_size > 0:
        raise ValueError(f"--pixel-size {pixel_size:g} should be above 0, in micrometres")
    told = [s for a, s in enumerate(known or ()) if a != axis and s]
    if any(abs(s / pixel_size - 1) > 0.02 for s in told):
        raise ValueError(
            f"--pixel-size {pixel_size:g} contradicts the file, which says {told[0]:g} um: leave "
            "it out, or correct the voxel size in the file"
        )
    depth = known[axis] if known and 0 <= axis < len(known) else None
    return tuple(depth if a == axis else pixel_size for a in range(image.values.ndim))


def _places(count: int, n: float) -> str:
    """Where the sections are in the output, and which planes lie beyond them."""
    from srlib.physics.sectioning import plane_count

    first, last = n // 2, n * (count - 1) + n // 2
    beyond = [k for k in range(plane_count(count, n)) if k < first or k > last]
    listed = ", ".join(map(str, beyond))
    said = f"section k is plane {n:g} k + {first:g}, both counted from 0"
    return f"{said}; planes {listed} lie beyond the sections: extrapolated" if beyond else said


class _Work:
    """One stack on its way: what was seen, its mended sections, and the training behind it.

    Attributes:
        stack: The sections to restore, mended if need be.
        measured: Whether each of them was measured; None for all.
        phases: The values of a stack of labels.
    """

    def __init__(self, source, n: float, axis: int, out: Path) -> None:
        from srlib.data.sections import label_values

        self.source = self.stack = source
        self.n, self.axis, self.out = n, axis, out
        self.phases = label_values(source, axis)
        self.measured: list[bool] | None = None
        self.fill: tuple[float, ...] = ()
        self.prepared: Path | None = None
        self.training: Path | None = None
        self.held: list[int] = []

    @property
    def count(self) -> int:
        """Sections, with those that are bridged."""
        return len(self.measured) if self.measured else self.source.shape[self.axis]

    def look(self, align, level, mend, missing, denoise) -> None:
        """See what is wrong with the sections, say so, and mend it."""
        import numpy as np

        from srlib.data import sections as rules
        from srlib.data.fill import fill_mask, find_fill, sample_sections

        count = self.source.shape[self.axis]
        if self.phases:
            shown = ", ".join(f"{value:g}" for value in self.phases)
            click.echo(f"labels {shown}: restored as phases, no other value appears")
        else:
            self.fill = find_fill(self.source, self.axis)
            masks = [fill_mask(s, self.fill) for s in sample_sections(self.source, self.axis)]
            if share := float(np.mean([mask.mean() for mask in masks])):
                values = ", ".join(f"{value:g}" for value in self.fill) or "NaN"
                click.echo(f"not measured: {share:.1%} of the voxels ({values}), left as they are")
        layout = rules.Layout(tuple(range(count)))
        if mend and count > 2:
            layout = rules.check_sections(
                self.source, self.axis, self.fill, missing=missing, progress=True
            )
            for sentence in layout.sentences():
                click.echo(sentence.replace("if so, missing", "if so, --missing"))
        shown = [k for k in range(count) if k not in layout.blank]
        slips = _slips(self.source, self.axis, self.fill, align)
        levels = (
            None
            if self.phases
            else _levels(self.source, self.n, self.axis, self.fill, level, shown)
        )
        smooth = denoise and not self.phases
        changed = layout.order != tuple(range(count)) or smooth
        if changed or slips is not None or levels is not None:
            self.prepared = self.out.with_name(f".sections-{self.out.name}.npy")
            how: dict[str, Any] = dict(
                fill=self.fill, phases=self.phases, slips=slips, levels=levels
            )
            how |= dict(smooth=smooth, progress=True)
            self.stack = rules.write_prepared(self.prepared, self.source, layout, self.axis, **how)
            self.measured = [number is not None for number in layout.order]
        if not self.phases:
            _direction(self.stack, self.n, self.axis, self.fill)

    def network(self, model: str | None, steps: int | None, seed: int, save: Path | None):
        """The network given, or one that learns from the sections."""
        from srlib import models, training
        from srlib.inference.depth import spacing
        from srlib.training.depth import tile_edge

        count = self.stack.shape[self.axis]
        real = [k for k in range(count) if self.measured is None or self.measured[k]]
        if model:
            network = models.load(model)
            if not hasattr(network, "n"):
                raise ValueError(
                    f"{model} restores no depth: give what --save of srlib depth wrote"
                )
            if abs(spacing(network) / self.n - 1) > 0.01:
                raise ValueError(f"{model} is for n={spacing(network):g}, not {self.n:g}")
            self.held = real[:: max(1, len(real) // 8)]
            return network
        many = len(real) // 10  # at the end: neighbours are alike
        self.held = real[-many:] if many else []
        skip = [k for k in range(count) if k not in real or k in self.held]
        tiles = training.Sections(self.stack, self.axis, skip, self.phases)
        recipe = training.DepthRecipe(steps=steps)
        key = hashlib.sha256(f"{tiles.key()} {self.n} {seed} {recipe}".encode()).hexdigest()
        self.training = self.out.with_name(f".training-depth-{key[:16]}")
        edge = tile_edge(math.ceil(self.n), tiles.shape[1:])
        if edge < 40:
            click.echo(f"sections are small: tiles of {edge} pixels instead of 56")
        options: dict[str, Any] = dict(axis=self.axis, out=self.training, save_every=100)
        network = training.fit_depth(tiles, self.n, "SRGAN", seed, recipe, **options)
        if save:
            models.save(network, save, network.meta)
        return network

    def expect(self, network) -> None:
        """Say what sections decimated along one of their own axes have to say."""
        from srlib.data.normalization import grey_limits
        from srlib.inference.depth import expected

        numbers = self.held or [0]
        limits = (0.0, 1.0) if self.phases else grey_limits(self.stack, self.axis, fill=self.fill)
        how: dict[str, Any] = dict(fill=self.fill, limits=limits, phases=self.phases)
        try:
            found = expected(network, self.stack, numbers[-16:], self.axis, **how)
        except ValueError as error:
            click.echo(f"not tried on sections: {error}")
            return
        range_ = "" if self.phases else f" (PSNR, grey values {limits[0]:g} to {limits[1]:g})"
        seen = "not learnt from" if self.held else "learnt from, so the true number is lower"
        if not self.training:
            seen = "which the model may have learnt from"
        click.echo(
            f"expected: {found['network']:.1f} dB{range_}, by cubic interpolation "
            f"{found['cubic']:.1f} dB, by linear {found['linear']:.1f} dB; tried on "
            f"{len(numbers[-16:])} sections {seen}, with rows and columns left out"
        )
        if found["network"] < found["cubic"]:
            click.echo("warning: cubic interpolation is better here; train longer, or use it")
        if abs(found["first axis"] - found["second axis"]) > 1.5:
            click.echo(
                "warning: the gain over cubic differs along the two axes of a section "
                f"({found['first axis']:.1f} and {found['second axis']:.1f} dB): the material has "
                "a direction, and along the depth it may be another"
            )

    def banding(self, network) -> None:
        """Say so where measured sections have more fine noise than the planes between them."""
        import numpy as np
        from scipy.ndimage import gaussian_filter

        from srlib.data.normalization import grey_limits
        from srlib.inference.depth import restore

        if self.phases or min(self.stack.shape) < 3:
            return
        middle = [slice(max(0, size // 2 - 32), size // 2 + 32) for size in self.stack.shape]
        first = self.stack.shape[self.axis] // 2
        middle[self.axis] = slice(max(0, first - 3), first + 4)
        part = np.asarray(self.stack[tuple(middle)])
        limits = grey_limits(self.stack, self.axis, fill=self.fill)
        found = restore(network, part, self.axis, limits=limits, fill=self.fill, progress=False)
        planes = np.moveaxis(found, self.axis, 0).astype(float)
        noise = np.array([np.nanstd(p - gaussian_filter(p, 1)) for p in planes])
        place = (np.arange(len(noise)) - self.n // 2) / self.n
        near = np.abs(place - np.rint(place))
        measured, between = np.median(noise[near < 0.1]), np.median(noise[near > 0.3])
        if measured > 1.3 * between:
            click.echo(
                f"warning: bands: the fine noise of measured sections is {measured:.2g}, that of "
                f"planes between them {between:.2g}; --denoise smooths the sections first"
            )

    def remove_prepared(self) -> None:
        """Remove the mended sections; they are quickly made again."""
        if self.prepared:
            self.stack = None
            for path in (self.prepared, self.prepared.with_name(f".partial-{self.prepared.name}")):
                path.unlink(missing_ok=True)

    def remove_training(self) -> None:
        """Remove the checkpoint of a training whose output is complete."""
        if self.training:
            self.training.unlink(missing_ok=True)


def _slips(source, axis: int, fill, align: bool | None):
    """Slips to take back, without what is a steady tilt; None for none."""
    import numpy as np
    from scipy.ndimage import median_filter

    from srlib.data.registration import find_slips

    if align is False or source.shape[axis] < 5:
        return None
    sides = [size for a, size in enumerate(source.shape) if a != axis]
    if min(sides) < 24:
        return None
    most = min(8, min(sides) // 4)
    found = find_slips(source, most, axis, fill, progress=True)
    steps = np.diff(found.slips, axis=0)
    jitter = float(np.sqrt(np.square(steps - median_filter(steps, (5, 1))).mean()))
    lost = len(found.unsure) + len(found.far)
    if lost > 0.2 * len(steps):
        if align or len(found.far) > 0.2 * len(steps):
            raise ValueError(
                f"{lost} of {len(steps)} sections are not alike the one before at any shift of "
                f"{most} pixels or less: align the stack before, or add --no-align"
            )
        return None
    if align is None and jitter < 1:
        return None
    for sentence in found.sentences():
        click.echo(sentence)
    click.echo(f"aligned: sections slip by {jitter:.1f} pixels (--no-align leaves them)")
    k = np.arange(len(found.slips))
    tilt = [np.polyval(np.polyfit(k, found.slips[:, c], 1), k) for c in (0, 1)]
    return found.slips - np.stack(tilt, 1)


def _levels(source, n: float, axis: int, fill, level: bool | None, shown: list[int]):
    """Brightness to even out; None for none."""
    from srlib.data.sections import FLICKER, find_levels, reader

    if level is False:
        return None
    read = reader(source, axis)
    levels = find_levels(read, shown, fill)
    if not level and (levels.flicker < FLICKER or _layered(read, levels, shown, n, fill)):
        return None
    click.echo(
        f"levelled: brightness flickers {levels.flicker:.0f} times as much as it would by chance "
        "(--no-level leaves it)"
    )
    return levels


def _layered(read, levels, shown: list[int], n: float, fill) -> bool:
    """Whether sections differ by what they show: evened out, they are as unlike as before."""
    from srlib.data.sections import changes

    def even(k: int):
        return levels.apply(read(shown[k]), shown[k])

    before = changes(lambda k: read(shown[k]), len(shown), n, fill)
    after = changes(even, len(shown), n, fill)
    return after[0] > before[0] or 2 * after[0] > 1.5 * (after[1] + after[2])


def _direction(stack, n: float, axis: int, fill) -> None:
    """Warn where the material is not alike in all directions."""
    from srlib.data.sections import changes, reader

    if (
        min(size for a, size in enumerate(stack.shape) if a != axis) < n + 4
        or stack.shape[axis] < 2
    ):
        return
    depth, first, second = changes(reader(stack, axis), stack.shape[axis], n, fill)
    if max(first, second) > 1.5 * min(first, second):
        click.echo(
            "warning: the material changes "
            f"{max(first, second) / min(first, second):.1f} times as much along one axis of a "
            "section as along the other: what is learnt there may not hold along the depth"
        )
    ratio = 2 * depth / (first + second)
    if not 2 / 3 < ratio < 1.5:
        click.echo(
            f"warning: over {n:g} pixels the stack changes {ratio:.1f} times as much along the "
            "depth as in its sections: is --n right? If so, the material has a direction, and "
            "what is learnt from sections may not hold"
        )
