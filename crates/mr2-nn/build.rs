//! Under feature `cuda`: compiles each `src/kernels/cuda/NAME.cu` to `$OUT_DIR/NAME.ptx`, which the crate embeds.

#![allow(clippy::print_stdout, clippy::print_stderr)] // how a build script speaks to cargo and to the user

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;
use std::{env, fs, io, thread};

const SOURCES: &str = "src/kernels/cuda";

/// What nvcc is asked for, besides the GPU.
const ARGUMENTS: [&str; 3] = ["-ptx", "-O3", "-std=c++17"];

/// The oldest GPUs that have bf16.
const OLDEST: u32 = 80;

/// Variables that name the root of a CUDA toolkit.
const ROOTS: [&str; 4] = [
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDA_TOOLKIT_ROOT_DIR",
];

/// Where a linker looks for cuDNN beside the toolkit.
const LIBRARIES: [&str; 5] = [
    "/usr/local/cuda/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-changed={SOURCES}");
    let others = [
        "CUDA_COMPUTE_CAP",
        "CUDNN_LIB",
        "LIBRARY_PATH",
        "NVCC",
        "NVCC_APPEND_FLAGS",
        "NVCC_PREPEND_FLAGS",
    ];
    for name in ROOTS.iter().chain(&others) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_CUDNN").is_some() {
        look_for_cudnn();
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let (sources, newest) = sources().map_err(|e| format!("cannot read {SOURCES}: {e}"))?;
    if sources.is_empty() {
        return Ok(());
    }
    let nvcc = find_nvcc();
    let capability = compute_capability()?;
    let made_with = made_with(&nvcc, capability)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR isn't set: run cargo")?);
    let failures: Vec<String> = thread::scope(|scope| {
        let mut jobs = Vec::new();
        for source in &sources {
            let target = out
                .join(source.file_stem().unwrap_or_default())
                .with_extension("ptx");
            if !is_fresh(&target, &made_with, newest) {
                let (nvcc, made_with) = (&nvcc, &made_with);
                let job = move || compile(nvcc, capability, made_with, source, &target);
                jobs.push(scope.spawn(job));
            }
        }
        let died = || Err("a thread that ran nvcc died".to_owned());
        jobs.into_iter()
            .filter_map(|job| job.join().unwrap_or_else(|_| died()).err())
            .collect()
    });
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n")),
    }
}

/// The `.cu` files, in order, and when the newest of them and of the `.cuh` files that they share was written.
fn sources() -> io::Result<(Vec<PathBuf>, SystemTime)> {
    let mut files = Vec::new();
    let mut newest = SystemTime::UNIX_EPOCH;
    if !Path::new(SOURCES).is_dir() {
        return Ok((files, newest));
    }
    for entry in fs::read_dir(SOURCES)? {
        let path = entry?.path();
        let kernel = path.extension().is_some_and(|e| e == "cu");
        if kernel || path.extension().is_some_and(|e| e == "cuh") {
            newest = newest.max(fs::metadata(&path)?.modified()?);
        }
        if kernel {
            files.push(path);
        }
    }
    files.sort();
    Ok((files, newest))
}

/// What else decides a kernel's PTX: the compiler with its version and flags, and the GPU.
fn made_with(nvcc: &Path, capability: u32) -> Result<String, String> {
    let version = Command::new(nvcc)
        .arg("--version")
        .output()
        .map_err(|e| missing_nvcc(nvcc, &e))?;
    let flags = ["NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS"].map(env::var_os);
    let version = String::from_utf8_lossy(&version.stdout);
    Ok(format!("{capability} {flags:?} {ARGUMENTS:?} {version}"))
}

/// Whether `target` is from these sources and was made the same way: cargo also comes here when only a `.rs` file changed.
fn is_fresh(target: &Path, made_with: &str, newest: SystemTime) -> bool {
    let written = fs::metadata(target).and_then(|m| m.modified());
    let noted = fs::read_to_string(target.with_extension("made-with")).unwrap_or_default();
    written.is_ok_and(|time| time > newest) && noted == made_with
}

/// IEEE arithmetic (no `--use_fast_math`): the kernels are held to their CPU twins.
fn compile(
    nvcc: &Path,
    capability: u32,
    made_with: &str,
    source: &Path,
    target: &Path,
) -> Result<(), String> {
    let output = Command::new(nvcc)
        .args(ARGUMENTS)
        .arg(format!("-arch=compute_{capability}"))
        .arg("-o")
        .args([target, source])
        .output()
        .map_err(|e| missing_nvcc(nvcc, &e))?;
    if output.status.success() {
        return fs::write(target.with_extension("made-with"), made_with)
            .map_err(|e| format!("cannot write beside {}: {e}", target.display()));
    }
    let _ = fs::remove_file(target);
    Err(format!(
        "nvcc refused {}:\n{}{}",
        source.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// `$NVCC`, else the toolkit's of the variables that name one, else the one in PATH.
fn find_nvcc() -> PathBuf {
    let name = format!("nvcc{}", env::consts::EXE_SUFFIX);
    let named = env::var_os("NVCC").map(PathBuf::from);
    let roots = ROOTS.iter().filter_map(env::var_os).map(PathBuf::from);
    let usual = Path::new("/usr/local/cuda/bin").join(&name);
    named
        .into_iter()
        .chain(roots.map(|root| root.join("bin").join(&name)))
        .find(|path| path.is_file())
        .or_else(|| Some(usual).filter(|path| path.is_file() && !in_path(&name)))
        .unwrap_or_else(|| name.into())
}

fn in_path(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|p| p.join(name).is_file()))
}

fn missing_nvcc(nvcc: &Path, error: &io::Error) -> String {
    format!(
        "feature `cuda` compiles CUDA kernels, but {} doesn't start: {error}.\n\
         Install NVIDIA's CUDA toolkit 12 or 13 and set CUDA_HOME or PATH (https://developer.nvidia.com/cuda-downloads),\n\
         or run cargo under experiments/gpu/toolchain in mr2's repository, which fetches one from PyPI.",
        nvcc.display()
    )
}

/// `CUDA_COMPUTE_CAP` (90, 9.0, sm_90), else what nvidia-smi says of the first GPU.
fn compute_capability() -> Result<u32, String> {
    let text = match env::var("CUDA_COMPUTE_CAP") {
        Ok(text) => text,
        Err(_) => ask_nvidia_smi()?,
    };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match digits.parse() {
        Ok(capability) if capability >= OLDEST => Ok(capability),
        Ok(capability) if capability >= 10 => Err(format!(
            "compute capability {}.{} has no bf16: mr2 needs an NVIDIA GPU of 8.0 (Ampere) or newer. \
             Building for another machine? Set CUDA_COMPUTE_CAP to its GPU's, as in CUDA_COMPUTE_CAP=90.",
            capability / 10,
            capability % 10
        )),
        _ => Err(format!(
            "CUDA_COMPUTE_CAP is `{}`: set it to the GPU's compute capability without the dot, as in CUDA_COMPUTE_CAP=90",
            text.trim()
        )),
    }
}

fn ask_nvidia_smi() -> Result<String, String> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=compute_cap", "--format=csv,noheader"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        _ => Err(
            "nvidia-smi names no GPU here: set CUDA_COMPUTE_CAP to the compute capability to build for, \
             without the dot, as in CUDA_COMPUTE_CAP=90 (https://developer.nvidia.com/cuda-gpus)"
                .into(),
        ),
    }
}

/// Warns where the linker will find no cuDNN: its own message doesn't name the package.
fn look_for_cudnn() {
    let roots = ROOTS.iter().chain(&["CUDNN_LIB"]).filter_map(env::var_os);
    let below = roots.flat_map(|root| {
        let root = PathBuf::from(root);
        [root.join("lib"), root.join("lib64"), root]
    });
    let listed = env::var_os("LIBRARY_PATH").unwrap_or_default();
    let found = below
        .chain(env::split_paths(&listed))
        .chain(LIBRARIES.map(PathBuf::from))
        .any(|folder| folder.join("libcudnn.so").exists() || folder.join("x64/cudnn.lib").exists());
    if !found {
        println!(
            "cargo::warning=feature `cudnn`: no libcudnn.so in the usual folders; if linking fails, install NVIDIA's \
             package cudnn9-cuda-13 (cudnn9-cuda-12), or name cuDNN's folder in CUDNN_LIB, or build with `--features cuda` alone"
        );
    }
}
