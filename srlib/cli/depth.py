"""``srlib depth``: the planes between sections."""

from pathlib import Path

import click

from srlib.cli.errors import one_sentence


@click.command()
@click.argument("stack")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--n", type=int, required=True, help="Spacing of the sections over the size of a pixel, whole."
)
@click.option("--axis", default=0, show_default=True, help="The depth.")
@click.option("--weights", help="A file, or the name of shipped ones; none: learn from the stack.")
@click.option("--save", help="File for what is learnt: for --weights on further stacks.")
@click.option("--steps", type=int, help="Of the training; fewer for a first look.")
@click.option("--seed", default=0, show_default=True)
def depth(stack, out, n, axis, weights, save, steps, seed) -> None:
    """Restore the depth of a stack; without weights, learn from the stack itself first.

    STACK holds the measured sections, an uncompressed .tif, or .zarr; OUT is the result, .tif or
    .zarr.
    """
    import numpy as np

    from srlib import models, training
    from srlib.data.io import check_output, read
    from srlib.inference.depth import restore_file
    from srlib.physics.sectioning import check_stack

    with one_sentence():
        check_output(stack, out)
        unfinished = out.with_name(f".training-{out.name}")
        if weights:
            model = models.load(weights)
            if getattr(model, "n", n) != n:
                raise ValueError(f"{weights} is for n={model.n}, not {n}")
        else:
            sections = read(stack).values
            check_stack(sections, n, axis)
            options = dict(axis=axis, out=unfinished, save_every=100)
            recipe = training.DepthRecipe(steps=steps)
            model = training.fit_depth(np.asarray(sections), n, "SRGAN", seed, recipe, **options)
            if save:
                models.save(model, save, model.meta)
        click.echo(restore_file(model, stack, out, axis))
        if not weights:
            unfinished.unlink()
