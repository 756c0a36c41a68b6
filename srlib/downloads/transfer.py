"""Bring one file into a folder: several sources, one hash, retried after a cut, atomic.

``download.py`` knows which files there are; this module knows how to get one. pooch downloads and
hashes; what is added here is a choice of sources, a limit of size and limits of time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

import pooch
import requests
from tqdm.std import tqdm

try:
    import fcntl
except ImportError:  # Windows has no fcntl: there, two downloads into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

TIMEOUT = (3, 10)  # seconds to connect, seconds without a chunk
PROBE = 2  # seconds in which an address must accept a connection
ATTEMPTS = 3  # requests to one address that breaks off after it has sent something
CHUNK = 8192  # bytes
UNKNOWN_LIMIT = 64 << 20  # bytes accepted where the size of a file is not known


class DownloadError(Exception):
    """Something could not be fetched; the message is one sentence for the reader."""


class Offline(DownloadError):
    """No address of the files ``names`` answers."""

    def __init__(self, names: list[str], reasons: str):
        self.names, self.reasons = names, reasons
        some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        super().__init__(
            f"No network, so {some} could not be fetched ({reasons}): connect and try "
            "again, or name a folder or an address that has the files with --mirror."
        )


class Refused(requests.RequestException):
    """A server answered with something that was not asked for."""


def matches(path: Path, known: str) -> bool:
    """Whether the file at ``path`` is there and has the hash ``known``.

    ``known`` is ``sha256:...``, ``md5:...`` or ``gitblob:...`` (the SHA-1 that git gives a file).
    """
    kind, _, digest = known.partition(":")
    if not path.is_file():
        return False
    if kind != "gitblob":
        return pooch.file_hash(str(path), alg=kind) == digest
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == digest


def _host(address: str) -> str:
    return urlsplit(address).netloc


def _answering(addresses: Iterable[str]) -> set[str]:
    """Hosts that (or whose proxies) accept a connection within ``PROBE`` seconds.

    All are asked at once in daemon threads, because looking up a host name has no time limit.
    """
    alive: set[str] = set()

    def ask(address: str) -> None:
        proxies = requests.utils.get_environ_proxies(address)
        first = requests.utils.select_proxy(address, proxies) or address
        first = urlsplit(first if "//" in first else f"http://{first}")
        with contextlib.suppress(OSError, ValueError):
            port = first.port or (443 if first.scheme == "https" else 80)
            socket.create_connection((first.hostname, port), PROBE).close()
            alive.add(_host(address))

    threads = [threading.Thread(target=ask, args=(a,), daemon=True) for a in addresses]
    end = time.monotonic() + PROBE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return set(alive)


class _Part:
    """A file on its way: pooch's downloader writes into it, it counts and shows a bar."""

    def __init__(self, path: Path, size: int | None):
        self.path, self.limit = path, size or UNKNOWN_LIMIT
        self.out, self.size = open(path, "wb"), 0
        self.bar = tqdm(desc=path.stem, total=size, unit="B", unit_scale=True, disable=None)

    def restart(self) -> None:
        if self.size:
            self.out.seek(0)
            self.out.truncate()
        self.size = 0
        self.bar.reset()

    def write(self, chunk: bytes) -> None:
        if self.size + len(chunk) > self.limit:
            raise Refused(f"sent more than the {self.limit} bytes expected")
        self.out.write(chunk)
        self.size += len(chunk)
        self.bar.update(len(chunk))

    def flush(self) -> None:
        self.out.flush()

    def pull(self, address: str) -> None:
        """Fetch the file from its beginning."""
        self.restart()
        done, self.stalled = threading.Event(), False

        def begin(response: requests.Response, **_: Any) -> None:
            threading.Thread(target=self._watch, args=(response, done), daemon=True).start()

        get = pooch.HTTPDownloader(
            chunk_size=CHUNK,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},
            hooks={"response": begin},
        )
        try:
            get(address, self, None)
        except requests.RequestException:
            if self.stalled:
                raise requests.Timeout from None
            raise
        finally:
            done.set()

    def _watch(self, response: requests.Response, done: threading.Event) -> None:
        """End an answer that trickles: a read time-out alone would wait for ever."""
        seen = self.size
        while not done.wait(TIMEOUT[1]):
            if self.size == seen:
                self.stalled = True
                with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
                    response.raw.shutdown()
                return
            seen = self.size

    def close(self) -> None:
        self.bar.close()
        self.out.close()
        self.path.unlink(missing_ok=True)


class Transfer:
    """Files on their way into one folder: its mirrors, its lock, and which hosts answer.

    Raises:
        ValueError: if a mirror is neither a folder nor a web address.
    """

    def __init__(self, folder: Path, mirrors: Iterable[str | Path] = ()):
        named = [str(mirror) for mirror in mirrors]
        self.folder = folder
        self.lock: TextIO | None = None
        self.web_mirrors = [m.rstrip("/") for m in named if m.startswith(("http://", "https://"))]
        self.folders = [Path(m) for m in named if not m.startswith(("http://", "https://"))]
        self.asked: set[str] = set()
        self.alive: set[str] = set()
        for mirror in self.folders:
            if not mirror.is_dir():
                raise ValueError(f"The mirror {mirror} is neither a folder nor a web address.")

    def hold(self) -> None:
        """Make the folder and keep a second download out of it until this process lets go."""
        if self.lock:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = open(self.folder / ".download.lock", "w")
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DownloadError(
                f"Another download into {self.folder} is running: wait for its end and try again."
            ) from None
        self.lock = lock

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock:
            self.lock.close()

    def bring(self, name: str, known: str, size: int | None, addresses: Iterable[str]) -> Path:
        """Put the file ``name`` with the hash ``known`` into the folder.

        Mirror folders are tried first, then mirror addresses, then ``addresses``. A file that was
        there under this name is kept as ``name.wrong``.

        Raises:
            Offline: if no address answers.
            DownloadError: if every source fails.
        """
        self.hold()
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        webs = [f"{mirror}/{quote(name)}" for mirror in self.web_mirrors] + list(addresses)
        part, reasons = _Part(self.folder / f"{name}.part", size), []
        try:
            place: str | Path
            sources: list[str | Path] = [*(folder / name for folder in self.folders), *webs]
            for source in sources:
                if isinstance(source, Path):
                    reason, place = _copy(source, part, known), source.parent
                else:
                    self.reach(webs)
                    reason, place = self.download(source, part, known), _host(source)
                if reason is None:
                    break
                reasons.append(f"{place} {reason}")
            else:
                if not self.alive & {_host(web) for web in webs}:
                    raise Offline([name], "; ".join(reasons))
                raise DownloadError(f"{name} could not be fetched: {'; '.join(reasons)}.")
            os.fsync(part.out.fileno())
            target = self.folder / name
            if target.is_file():
                os.replace(target, self.folder / f"{name}.wrong")
            os.replace(part.path, target)
        finally:
            part.close()
        return target

    def reach(self, addresses: Iterable[str]) -> None:
        """Find out which hosts answer, each once."""
        new = {_host(a): a for a in addresses if _host(a) not in self.asked}
        self.asked |= set(new)
        self.alive |= _answering(new.values())

    def download(self, address: str, part: _Part, known: str) -> str | None:
        """None when the part file is complete and right, else what was wrong with this address."""
        if _host(address) not in self.alive:
            return "cannot be reached"
        for _ in range(ATTEMPTS):
            try:
                part.pull(address)
            except requests.HTTPError as error:
                assert error.response is not None  # it has answered
                return f"says {error.response.status_code} {error.response.reason}"
            except Refused as error:
                return str(error)
            except requests.RequestException as error:
                if part.size:
                    continue
                if isinstance(error, (requests.Timeout, requests.ConnectionError)):
                    self.alive.discard(_host(address))
                return f"broke off ({type(error).__name__})"
            return None if matches(part.path, known) else "sent another file (wrong hash)"
        return "broke off again and again"


def _copy(source: Path, part: _Part, known: str) -> str | None:
    if not matches(source, known):
        return "holds another file of this name" if source.is_file() else "does not hold it"
    part.restart()
    part.limit = source.stat().st_size
    with open(source, "rb") as stream:
        shutil.copyfileobj(stream, part)
    part.flush()
    return None
