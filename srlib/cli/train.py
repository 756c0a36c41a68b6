"""``srlib train``: the networks of the book."""

import os
from pathlib import Path

import click

from srlib.cli.errors import one_sentence


@click.command()
@click.argument("case")
@click.option("--profile", default="laptop", show_default=True, help="smoke, laptop or full.")
@click.option("--source", default="auto", show_default=True, help="auto, real or twin.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="_build/weights",
    show_default=True,
    help="Folder of the weights.",
)
@click.option("--device", help="cpu or cuda; the default is cuda if there is one.")
@click.option("--seconds", type=float, help="Stop after so many seconds.")
def train(case, profile, source, seed, out, device, seconds) -> None:
    """Train a CASE of srlib.datasets.load, such as case1; write its weights and their JSON."""
    from srlib import datasets, models
    from srlib.training import fit_superres

    with one_sentence():
        inputs = datasets.load(case, source)
        model = fit_superres(inputs, profile, seed, device, seconds, out=out)
        path = out / f"{inputs.name}-{inputs.source}-{seed}.safetensors"
        if int(os.environ.get("RANK", 0)) == 0:
            models.export(model, path)
            click.echo(f"{path}: {model.meta['seconds']} s, best at {model.meta['best_iteration']}")
