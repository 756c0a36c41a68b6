"""The journal of a long run: which pieces of its unfinished output are safe on disk."""

import os
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from srlib.storage import write_atomic

FLUSH_EVERY = 20.0  # seconds; neighbouring pieces of a file share pages, best written only once


class Journal:
    """A text file that a later run reads to go on where an earlier one stopped.

    Its first line is the key of what is computed and the name of the run that computes it. Then
    comes the number of each piece that is done, a line each. One that is cut short does not count.

    Args:
        path: The file. It is read now, and written from :meth:`begin` on.
        key: Says what is computed; what another key has left does not count.

    Attributes:
        done: Numbers of the pieces that are safe on disk.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.run, self.done = path, f"{key} {uuid.uuid4().hex}", set()
        lines = path.read_text("ascii", "replace").split("\n")[:-1] if path.exists() else []
        if lines and lines[0].startswith(f"{key} "):
            self.done = {int(line) for line in lines[1:] if line.isdigit()}

    def begin(self) -> None:
        """Take over from the run before, without the line that it may have cut short.

        Raises:
            OSError: one sentence, if the file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [self.run, *map(str, sorted(self.done))]
        write_atomic(self.path, "".join(f"{line}\n" for line in lines).encode())

    def is_ours(self) -> bool:
        """Whether this run has begun, and no later one has taken over."""
        if not self.path.exists():
            return False
        with open(self.path) as file:
            return file.readline() == f"{self.run}\n"

    def check(self) -> None:
        """Raise a ValueError if a later run has taken over."""
        if not self.is_ours():
            raise ValueError(
                f"a later run has taken over {self.path.name.removeprefix('.journal-')}: wait for "
                "it, or choose another name for the output"
            )

    def follow(self, work: Iterable[int], flush: Callable[[], None] | None = None) -> None:
        """Let ``work`` do piece after piece, and note what is done, also when it is interrupted.

        Args:
            work: Gives the number of each piece after writing it.
            flush: Brings to the disk what is written, called every ``FLUSH_EVERY`` seconds; None
                if ``work`` does so itself.

        Raises:
            ValueError: if a later run has taken over.
            OSError: if the disk is full.
        """
        waiting, last = [], time.monotonic()
        try:
            for number in work:
                waiting.append(number)
                if not flush or time.monotonic() - last >= FLUSH_EVERY:
                    ready, waiting = waiting, []  # if this fails, it is not tried again
                    self._note(ready, flush)
                    last = time.monotonic()
        finally:
            self._note(waiting, flush)

    def _note(self, numbers: list[int], flush: Callable[[], None] | None) -> None:
        if not numbers:
            return
        if flush:
            flush()
        self.check()
        with open(self.path, "a") as file:
            file.write("".join(f"{number}\n" for number in numbers))
            file.flush()
            os.fsync(file.fileno())
        self.done.update(numbers)
