"""Fetch the public files of this book, check each by a known hash, and keep them out of git.

    python data/download.py --list           # every file: bytes, licence, voxel size, address
    python data/download.py case3            # the two files of Case 3 (1.3 MB)
    python data/download.py edsr             # a sandstone scanned twice, 60 crops (23 MB)
    python data/download.py --all            # all of these (52 MB, and 64 MB unpacked)
    python data/download.py zenodo           # the authors' own volumes, Zenodo record 7104555
    python data/download.py case3 --mirror /media/stick/files --mirror https://example.org/files

Files land in ``--dest``, else in ``$SRLIB_DATA``, else in ``data/raw``. After a cut, run the same
command again: what is complete is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import sys
import tomllib
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pooch
import requests

from srlib.downloads.transfer import TIMEOUT, DownloadError, Offline, Transfer, matches

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ZENODO, RECORD = "https://zenodo.org", "7104555"
PLACES = (
    "https://raw.githubusercontent.com/{repository}/{commit}/{path}",
    "https://cdn.jsdelivr.net/gh/{repository}@{commit}/{path}",
    "https://github.com/{repository}/raw/{commit}/{path}",
)


@dataclass(frozen=True)
class File:
    """One public file, and the addresses that have it.

    ``name`` is where it lies in the folder of all, ``hash`` is ``sha256:...``, ``md5:...`` or
    ``gitblob:...`` (the SHA-1 that git gives a file), ``bytes`` and ``voxel_nm`` are None where
    nobody states them, and ``members`` are the files inside an archive with their hashes.
    """

    name: str
    group: str
    addresses: tuple[str, ...]
    hash: str
    bytes: int | None = None
    licence: str = ""
    content: str = ""
    labels: str = ""
    voxel_nm: float | None = None
    members: tuple[tuple[str, str], ...] = ()


def _from_github(
    repository: str, commit: str, path: str, name: str = "", members: Any = (), **facts: Any
) -> File:
    places = tuple(p.format(repository=repository, commit=commit, path=path) for p in PLACES)
    name = name or PurePosixPath(path).name
    return File(name, addresses=places, members=tuple(dict(members).items()), **facts)


def _folder_from_github(path: str, name: str, files: dict[str, list], **facts: Any) -> list[File]:
    return [
        _from_github(path=f"{path}/{f}", name=f"{name}/{f}", hash=digest, bytes=size, **facts)
        for f, (size, digest) in files.items()
    ]


def _read_registry() -> list[File]:
    known = tomllib.loads((HERE / "registry.toml").read_text())
    folders = (_folder_from_github(**folder) for folder in known["folder"])
    return [_from_github(**f) for f in known["file"]] + [f for folder in folders for f in folder]


REGISTRY = _read_registry()


def default_folder() -> Path:
    """``$SRLIB_DATA`` if it is set, else ``data/raw`` of the checkout, or of where we are."""
    checkout = ROOT if (ROOT / "pyproject.toml").exists() else Path()
    return Path(os.environ.get("SRLIB_DATA") or checkout / "data" / "raw")


def fetch(
    name_or_group: str | Iterable[str],
    dest: str | Path | None = None,
    mirrors: Iterable[str | Path] = (),
) -> list[Path]:
    """Bring files into a folder, each checked by its hash; files already there are kept.

    Args:
        name_or_group: a file name, a group (``case1`` ... ``case4``, ``rock``, ``edsr``, ``grey``,
            ``zenodo``), ``all`` (every group but ``zenodo``), ``zenodo/NAME`` for one file of that
            record, or several of these.
        dest: the folder; default ``$SRLIB_DATA``, else ``data/raw``. The record goes into its
            sub-folder ``zenodo_7104555``.
        mirrors: folders or web addresses to try first; each holds the files under their names.

    Returns:
        The files, an archive followed by what was in it.

    Raises:
        ValueError: for an unknown name or a mirror that is not there.
        DownloadError: if a file cannot be fetched or the folder cannot be written.
    """
    folder = Path(dest or default_folder()).expanduser()
    names = [name_or_group] if isinstance(name_or_group, str) else list(name_or_group)
    wanted = {file.name: file for name in names for file in _select(name)}
    paths, failures = [], []
    try:
        with Transfer(folder, mirrors) as transfer:
            for file in wanted.values():
                try:
                    paths += _get(file, transfer)
                except DownloadError as error:
                    failures.append(error)
        records = [name.partition("/")[2] for name in names if name.split("/")[0] == "zenodo"]
        for only in records:
            with Transfer(folder / f"zenodo_{RECORD}", mirrors) as transfer:
                paths += _fetch_record(only, transfer)
    except DownloadError as error:
        failures.append(error)
    except OSError as error:
        raise DownloadError(
            f"{error.filename or folder} cannot be used ({error.strerror}): make room there, ask "
            "for the right to write there, or choose another folder with --dest."
        ) from error
    offline = [error for error in failures if isinstance(error, Offline)]
    failures = [error for error in failures if error not in offline]
    if offline:
        names = [name for error in offline for name in error.names]
        failures.append(Offline(names, offline[0].reasons))
    if failures:
        raise DownloadError(" ".join(dict.fromkeys(map(str, failures))))
    return paths


def _select(name: str) -> list[File]:
    files = [file for file in REGISTRY if name in ("all", file.group, file.name)]
    if not files and name.split("/")[0] != "zenodo":
        groups = ", ".join(dict.fromkeys(file.group for file in REGISTRY))
        raise ValueError(
            f"{name!r} is neither a file nor a group ({groups}, zenodo); --list names the files."
        )
    return files


def _get(file: File, transfer: Transfer) -> list[Path]:
    target = transfer.folder / file.name
    if not matches(target, file.hash):
        if target.is_file():
            print(
                f"{file.name} has a wrong hash: it is fetched again, and the one that was there "
                f"is kept as {file.name}.wrong.",
                file=sys.stderr,
            )
        transfer.bring(file.name, file.hash, file.bytes, file.addresses)
    if not all(matches(transfer.folder / name, known) for name, known in file.members):
        transfer.hold()
        unpack(target, transfer.folder)
    for name, known in file.members:
        if not matches(transfer.folder / name, known):
            raise DownloadError(f"{file.name} does not hold the {name} it should.")
    return [target, *(transfer.folder / name for name, _ in file.members)]


def _fetch_record(only: str, transfer: Transfer) -> list[Path]:
    """Fetch the Zenodo record: its own list is believed once and then kept in ``record.json``."""
    listing = transfer.folder / "record.json"
    record = _read_record(listing) if listing.is_file() else _ask_zenodo(transfer)
    if bad := [name for name in record if PurePosixPath(name).name != name or "\\" in name]:
        raise DownloadError(f"Record {RECORD} names a file outside its folder: {bad[0]!r}.")
    if only and only not in record:
        raise ValueError(f"Record {RECORD} has no file {only!r}, only {', '.join(record)}.")
    paths = []
    for name in [only] if only else record:
        facts, place = record[name], f"files/{quote(name)}"
        addresses = (
            f"{ZENODO}/api/records/{RECORD}/{place}/content",
            f"{ZENODO}/records/{RECORD}/{place}?download=1",
        )
        known = facts.get("sha256", facts["md5"])
        paths += _get(File(name, "zenodo", addresses, known, facts["bytes"]), transfer)
        if "sha256" not in facts:
            facts["sha256"] = f"sha256:{pooch.file_hash(str(paths[-1]))}"
            part = listing.with_suffix(".part")
            part.write_text(json.dumps(record, indent=1))
            os.replace(part, listing)
    return paths


def _read_record(listing: Path) -> dict[str, dict]:
    try:
        record = json.loads(listing.read_text())
        if all({"bytes", "md5"} <= set(facts) for facts in record.values()):
            return record
    except (ValueError, AttributeError, TypeError):
        pass
    raise DownloadError(f"{listing} is damaged: delete it, and the record is asked for again.")


def _ask_zenodo(transfer: Transfer) -> dict[str, dict]:
    transfer.reach([ZENODO])
    if not transfer.alive:
        raise Offline([f"Zenodo record {RECORD}"], f"{ZENODO} cannot be reached")
    try:
        reply = requests.get(f"{ZENODO}/api/records/{RECORD}", timeout=TIMEOUT)
        reply.raise_for_status()
        return {
            f["key"]: {"bytes": int(f["size"]), "md5": "md5:" + f["checksum"].removeprefix("md5:")}
            for f in reply.json()["files"]
        }
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"Zenodo does not tell what record {RECORD} holds "
            f"({type(error).__name__}): try again later."
        ) from None


def _refusal(entries: list[zipfile.ZipInfo], max_bytes: int, max_files: int) -> str | None:
    for entry in entries:
        path, kind = PurePosixPath(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or set("\\:") & set(entry.filename):
            return f"its entry {entry.filename!r} points outside the folder"
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            return f"its entry {entry.filename!r} is a link or a special file"
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"its entry {entry.filename!r} is packed in an unusual way"
    if len(entries) > max_files:
        return f"it holds {len(entries)} entries, more than {max_files}"
    if sum(entry.file_size for entry in entries) > max_bytes:
        return f"it would unpack to more than {max_bytes} bytes"
    return None


def unpack(archive: Path, folder: Path, max_bytes: int = 256 << 20, max_files: int = 64) -> None:
    """Unpack a zip into ``folder``; nothing appears there before all of it has been read.

    Raises:
        DownloadError: if the archive is damaged or locked by a password, has an entry outside the
            folder, a link, more than ``max_files`` entries or more than ``max_bytes`` unpacked.
    """
    stage = folder / f".unpack-{archive.name}"
    shutil.rmtree(stage, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            if why := _refusal(entries, max_bytes, max_files):
                raise DownloadError(f"{archive.name} is not unpacked: {why}.")
            files = [entry for entry in entries if not entry.is_dir()]
            for entry in files:
                (stage / entry.filename).parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, open(stage / entry.filename, "wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
        for entry in files:
            target = folder / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                raise DownloadError(f"{archive.name} is not unpacked: {target.parent} is a link.")
            os.replace(stage / entry.filename, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {error}.") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def table(folder: Path) -> str:
    """The registry as text, with a word on what already lies in ``folder``."""
    row = "{:32} {:7} {:>10}  {:10} {:8} {}"
    lines = [row.format("file", "group", "bytes", "voxel size", "licence", "here")]
    alike = Counter(f.content for f in REGISTRY)  # the files of a folder: the first stands for all
    first = {f.content: f for f in reversed(REGISTRY)}
    for f in [f for f in REGISTRY if first[f.content] is f]:
        path = folder / f.name
        here = "no" if not path.is_file() else "yes" if matches(path, f.hash) else "wrong hash"
        voxel = f"{f.voxel_nm:g} nm" if f.voxel_nm else "-"
        lines.append(row.format(f.name, f.group, f.bytes or "-", voxel, f.licence, here))
        many = alike[f.content] - 1
        more = f" (and {many} more such files)" if many else ""
        lines.append(f"    {f.content}{more}" + (f"; values: {f.labels}" if f.labels else ""))
        lines.append(f"    {f.addresses[0]}")
    lines.append(row.format(f"zenodo_{RECORD}/...", "zenodo", "-", "-", "-", ""))
    lines.append("    all volumes the authors generated, and their inputs")
    lines.append(f"    {ZENODO}/records/{RECORD}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a group or a file, see --list")
    parser.add_argument("--all", action="store_true", help="every file but the Zenodo record")
    parser.add_argument("--list", action="store_true", help="show the files and stop")
    parser.add_argument("--dest", type=Path, default=default_folder(), help="the folder to fill")
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="DIR_OR_URL",
        help="a folder or an address to try first; may be repeated",
    )
    options = parser.parse_args(arguments)
    if options.list:
        print(table(options.dest.expanduser()))
        return 0
    names = options.names + ["all"] * options.all
    if not names:
        parser.error("name a group or a file, or give --all or --list")
    try:
        paths = fetch(names, options.dest, options.mirror)
    except (DownloadError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(f"{len(paths)} files are ready in {options.dest}.")
    return 0
