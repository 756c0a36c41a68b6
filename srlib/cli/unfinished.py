"""Outputs of a command that was interrupted belong to the same command when it is called again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from srlib.storage import write_atomic


@contextmanager
def unfinished(context: click.Context, outputs: Sequence[Path], overwrite: bool) -> Iterator[None]:
    """Around the work of a command: outputs of others stay as they are, its own are gone on with.

    A file ``.unfinished-NAME`` beside the first output says which command is at work; it stays
    after an interruption.

    Args:
        context: Of the command, for its arguments.
        outputs: What it writes.
        overwrite: Whether outputs that are there may be replaced.

    Raises:
        ValueError: if an output is there, and not of this command.
    """
    given = {name: str(value) for name, value in context.params.items() if name != "overwrite"}
    about = f"{context.command.name} {sorted(given.items())}"
    mark = outputs[0].absolute().with_name(f".unfinished-{outputs[0].name}")
    ours = mark.is_file() and mark.read_text(encoding="utf-8") == about
    for path in outputs:
        if path.exists() and not (overwrite or ours):
            raise ValueError(f"{path} is there already: choose another name, or add --overwrite")
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, about.encode())
    try:
        yield
    except (ValueError, MemoryError):  # the same command would fail again
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)
