"""The two sides of a comparison: a Python with PyTorch, the release build of `mr2`, and the machine that both run on."""
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["torch", "numpy", "safetensors"]


def python():
    """A Python with PyTorch: $MR2_BENCH_PYTHON, or a venv made once in the build folder."""
    if os.environ.get("MR2_BENCH_PYTHON"):
        return os.environ["MR2_BENCH_PYTHON"]
    folder = ROOT / "target" / "bench-venv"
    binary = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("setting up PyTorch in target/bench-venv ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([binary, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return str(binary)


def ours():
    """The release binary, built if needed."""
    command = ["cargo", "build", "--release", "--quiet", "--workspace", "--bin", "mr2"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "mr2")


def cpu():
    """The CPU's name and the vector features that decide which kernels run."""
    name, flags = platform.processor() or platform.machine(), []
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() == "flags":
                known = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile")
                flags = [f for f in known if f in value.split()]
    except OSError:
        pass
    return {"name": name, "features": flags, "logical_cores": os.cpu_count()}


def torch_version(interpreter):
    command_line = [interpreter, "-c", "import torch; print(torch.__version__)"]
    return subprocess.run(command_line, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
