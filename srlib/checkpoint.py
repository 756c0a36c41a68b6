"""Tensors and plain metadata in one safetensors file, written whole or not at all."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


def write_atomic(path: str | Path, content: bytes) -> Path:
    """Write a file beside its final place, then move it there.

    Raises:
        OSError: one sentence, if the folder cannot be written or the disk is full; a former file
            of that name is untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path} ({error.strerror}): free some space or choose another folder"
        ) from None
    return path


def write(path: str | Path, tensors: dict[str, Tensor], meta: dict) -> Path:
    """Write tensors and a JSON-able ``meta`` to one ``.safetensors`` file, atomically."""
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    return write_atomic(path, save(tensors, {"meta": json.dumps(meta)}))


def read(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read what :func:`write` wrote; nothing in the file is executed.

    Raises:
        ValueError: if the file is missing, truncated or something else.
    """
    try:
        with safe_open(str(path), "pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            return {k: file.get_tensor(k) for k in file.keys()}, meta
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}: check the name") from None
    except (SafetensorError, KeyError, OSError, ValueError):
        raise ValueError(
            f"{path} is damaged or no weights file of srlib: copy it again, or train it anew"
        ) from None


def flatten(**states: dict) -> tuple[dict[str, Tensor], dict]:
    """State dicts (of modules or optimisers) as flat tensors and the plain rest."""
    tensors, rest = {}, {}

    def walk(value, key: str) -> None:
        if isinstance(value, Tensor):
            tensors[key] = value
        elif isinstance(value, dict) and value:
            for k, v in value.items():
                walk(v, f"{key}|{'#' if isinstance(k, int) else ''}{k}")
        else:
            rest[key] = value

    for name, state in states.items():
        walk(dict(state), name)
    return tensors, rest


def unflatten(tensors: dict[str, Tensor], rest: dict) -> dict:
    """The inverse of :func:`flatten`."""
    root: dict = {}
    for key, value in {**tensors, **rest}.items():
        *parents, last = [int(k[1:]) if k[0] == "#" else k for k in key.split("|")]
        node = root
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return root
