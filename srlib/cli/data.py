"""``srlib data``: the public files of the book."""

from pathlib import Path

import click

from srlib.cli.errors import one_sentence


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every file but the Zenodo record.")
@click.option("--list", "listed", is_flag=True, help="Show the files and stop.")
@click.option("--dest", type=click.Path(path_type=Path), help="Folder; $SRLIB_DATA by default.")
@click.option("--mirror", multiple=True, metavar="DIR_OR_URL", help="To try first; repeatable.")
def data(names, every, listed, dest, mirror) -> None:
    """Fetch public files by group or name, each checked by a known hash.

    NAMES are of the list, such as case3 or NMC_lr_input.tif. After a cut, the same command goes on.
    """
    from srlib.downloads import download

    with one_sentence():
        folder = (dest or download.default_folder()).expanduser()
        if listed:
            click.echo(download.table(folder))
            return
        if not names and not every:
            raise ValueError("name a group or a file, or give --all or --list")
        paths = download.fetch([*names, *["all"] * every], folder, mirror)
        click.echo(f"{len(paths)} files are ready in {folder}.")
