"""Files written whole or not at all; tensors and plain metadata in one safetensors file."""

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
