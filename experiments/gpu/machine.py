"""What a check needs of the machine: its GPU, the program, and the libraries that the program loads."""
import atexit
import functools
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NO_GPU = 3
FIELDS = ("name", "driver_version", "compute_cap", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit",
          "temperature.gpu", "memory.total", "memory.used")
# Where a driver's libcuda.so.1 may be, besides the loader's own folders.
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/cuda/compat", "/usr/lib/x86_64-linux-gnu", "/usr/lib64",
                  "/usr/lib/wsl/lib")


def gpu(device="cuda"):
    """The GPU that cuda or cuda:N names, by nvidia-smi, with clocks (MHz) and memory (MiB) as of now; None where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device == "cpu" or visible in ("", "-1"):
        return None
    which = device.partition(":")[2] or "0"
    ours = visible.split(",") if visible else []
    if which.isdigit() and int(which) < len(ours):
        which = ours[int(which)]
    command = ["nvidia-smi", "-i", which, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    lines = output.strip().splitlines()
    if not lines:
        return None
    values = [value.strip() for value in lines[0].split(",")]
    return {field.replace(".", "_"): number(value) for field, value in zip(FIELDS, values)}


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


@functools.cache
def binary():
    """The program: $MR2_BIN, or the release build. A compressed one (see pack) is unpacked for as long as this script runs."""
    path = Path(os.environ.get("MR2_BIN") or ROOT / "target" / "release" / "mr2").resolve()
    if not path.exists():
        sys.exit(f"{path} is missing: build it with `cargo build --release --features cuda,cudnn`, or name one by MR2_BIN")
    if path.suffix != ".xz":
        return str(path)
    import lzma  # not every Python has it

    folder = tempfile.mkdtemp(prefix="mr2-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = Path(folder) / path.stem
    try:
        program.write_bytes(lzma.decompress(path.read_bytes()))
    except (lzma.LZMAError, EOFError) as error:
        sys.exit(f"{path} can't be unpacked ({error}): make it again with experiments/gpu/pack")
    program.chmod(0o755)
    return str(program)


def library_folders():
    """The folders of cuBLAS, cuDNN, cuRAND and NVRTC in this Python's nvidia-* packages, and of the driver."""
    folders = []
    for packages in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
        nvidia = Path(packages) / "nvidia"
        folders += [*nvidia.glob("cu13/lib"), *nvidia.glob("*/lib")]
    folders += [Path(folder) for folder in DRIVER_FOLDERS if (Path(folder) / "libcuda.so.1").exists()]
    return list(dict.fromkeys(str(folder) for folder in folders if folder.is_dir()))


def environment():
    """The environment for the program: its libraries are found, the user's own first."""
    own = os.environ.get("LD_LIBRARY_PATH", "")
    folders = [*own.split(":"), *library_folders()]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


class Clock:
    """The time that a part has left."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes

    def left(self):
        return max(self.end - time.monotonic(), 0.0)


def run(arguments, clock, capture=False):
    """Runs the program in the repository; gives its status (None where the time was up) and, if captured, its output."""
    return execute([binary(), *arguments], clock, capture, environment())


def execute(command, clock, capture=False, env=None):
    if clock.left() < 1:
        return None, ""
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, timeout=clock.left(), text=True, check=False,
                              stdout=subprocess.PIPE if capture else None)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout or ""


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, (json.dumps(document, indent=1) + "\n").encode())


def replace(path, content):
    """The whole file or the one before it."""
    scratch = path.with_name(path.name + ".new")
    scratch.write_bytes(content)
    scratch.replace(path)


def read(path):
    return json.loads(path.read_text()) if path.exists() else None
