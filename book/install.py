"""Install the book into ``.venv``: what ``make`` runs first. Any Python 3 reads this file.

It refuses a Python that the pinned packages do not have, says before it happens that several GB of
CUDA would come, leaves a CPU build of PyTorch that is there as it is, and closes a failure with the
last line of pip itself.
"""

import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
OLDEST, NEWEST = (3, 11), (3, 13)
RANGE = "Python 3.11, 3.12 or 3.13 is needed"


def refusal(version):
    """Why a version of Python cannot be used, in one sentence; nothing if it can."""
    if OLDEST <= version[:2] <= NEWEST:
        return ""
    how = "name one of them with 'make book PYTHON=/path/to/python3.13'"
    return f"{RANGE}, and this is {version[0]}.{version[1]}: {how}."


def pip(*words, **how):
    """Run pip of the environment."""
    settings = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    return subprocess.run([PYTHON, "-m", "pip", *words], env=settings, cwd=ROOT, text=True, **how)


def has_torch():
    """Whether the environment holds PyTorch; then it is left as it is."""
    return not subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode


def has_nvidia():
    """Whether this machine has an NVIDIA card with its driver."""
    return os.path.exists("/proc/driver/nvidia/version")


def cuda_packages(report):
    """Packages for NVIDIA cards that PyTorch would bring, by pip's report of what it would take."""
    (torch,) = [item["metadata"] for item in json.loads(report)["install"]]
    names = torch.get("requires_dist", [])
    return [name for name in names if re.match("(nvidia|cuda|triton)", name)]


def warn_of_cuda():
    """Say that several GB come that this machine cannot use, and how to have less."""
    if sys.platform != "linux" or has_nvidia() or has_torch():
        return
    words = ["install", "-q", "--dry-run", "--no-deps", "--report", "-", "-c", "constraints.txt"]
    asked = pip(*words, "torch", capture_output=True)
    if asked.returncode == 0 and cuda_packages(asked.stdout):
        print(
            "This machine has no NVIDIA card, and pip will now bring the PyTorch for one: 3 GB or "
            "more.\nTo have the CPU build (200 MB) instead: press Ctrl-C, install it into .venv as "
            "the PyTorch site says, and run the same command again.",
            flush=True,
        )
        if sys.stdin.isatty():
            time.sleep(10)


def last_words(said):
    """Pip's own last line about an error, or just its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip said nothing"])[-1]


def main():
    why = refusal(sys.version_info)
    if why:
        return why
    if not os.path.exists(PYTHON):
        made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
        if made.returncode:
            return (
                f"The environment could not be made: install the venv module of {sys.executable}."
            )
    print("Installing into .venv (once, a few minutes) ...", flush=True)
    warn_of_cuda()
    words = ["install", "-q", "-c", "constraints.txt", "-e", ".[book,test]"]
    done = pip(*words, stderr=subprocess.PIPE)
    if done.returncode:
        return f"The packages could not be installed. pip says: {last_words(done.stderr)}"
    return None


if __name__ == "__main__":
    sys.exit(main())
