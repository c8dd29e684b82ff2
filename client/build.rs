//! Links `hfctl` so that it starts fast: HostFactory starts it for every poll, and most of the life of a small dynamic
//! program is its loader's.
//!
//! The program gets the static glibc: `libc.a`, where the linker has it (Debian's libc6-dev does,
//! Fedora's needs glibc-static), and in any case the unwinder of `libgcc_eh.a` instead of `libgcc_s.so`. At a fixed
//! address, for a static program that relocates itself first writes to most of its data pages. The price is that its own
//! code is not placed at random, and that a repaired glibc takes a new build. Without those archives, on another C
//! library, or with another linker than a C compiler the link is the ordinary one, and nothing but time is lost.
//!
//! `-C target-feature=+crt-static` means the same and can't be used: without `--target` it would hold for the
//! procedural macros as well, and it can't be given for one program of a workspace. So the names that rustc asks the
//! linker for (`-lgcc_s`, `-lc`, `-lm` and four more) are answered from a directory of our own: an archive that is a linker script.
//! `hfctl` looks up neither users nor host names, so the static glibc misses none of its plug-ins.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The libraries beside `libc` that rustc names for each program.
const OTHERS: [&str; 5] = ["libm.a", "libutil.a", "librt.a", "libpthread.a", "libdl.a"];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let Some(linker) = linker() else { return Ok(()) };
    let Some(unwinder) = archive(&linker, "libgcc_eh.a") else { return Ok(()) };
    let Some(builtins) = archive(&linker, "libgcc.a") else { return Ok(()) };
    let directory = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("link");
    fs::create_dir_all(&directory)?;
    let script = |library: &str, members: &[&Path]| {
        let members: Vec<_> = members.iter().map(|member| format!("\"{}\"", member.display())).collect();
        fs::write(directory.join(library), format!("GROUP ( {} )\n", members.join(" ")))
    };
    script("libgcc_s.a", &[&unwinder, &builtins])?;
    // All that rustc names: it asks for shared ones first, and one of those in a static program crashes it at its start.
    // A C library that still has its threads in a library of their own (glibc before 2.34) is left to the ordinary link.
    let others: Option<Vec<_>> = OTHERS.iter().map(|name| Some((*name, archive(&linker, name)?))).collect();
    let is_static = match (archive(&linker, "libc.a"), others) {
        (Some(libc), Some(others)) if archive(&linker, "libpthread.so").is_none() => {
            script("libc.a", &[&libc, &unwinder, &builtins])?;
            for (name, other) in &others {
                script(name, &[other])?;
            }
            true
        }
        _ => false,
    };
    // For the program alone: the tests of this package are linked as ever.
    println!("cargo:rustc-link-arg-bin=hfctl=-L{}", directory.display());
    if is_static {
        println!("cargo:rustc-link-arg-bin=hfctl=-static");
        println!("cargo:rustc-link-arg-bin=hfctl=-no-pie");
    }
    Ok(())
}

/// The C compiler that links, when the program is one for Linux with a dynamic glibc.
fn linker() -> Option<PathBuf> {
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    let is_static_already = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_linked_otherwise = ["linker=", "prefer-dynamic", "sanitizer"].iter().any(|flag| flags.contains(flag));
    if target("OS") != "linux" || target("ENV") != "gnu" || is_static_already || is_linked_otherwise {
        return None;
    }
    match env::var_os("RUSTC_LINKER") {
        Some(named) => Some(named.into()),
        None => (env::var_os("TARGET") == env::var_os("HOST")).then(|| "cc".into()),
    }
}

/// Where the linker finds a library of this name; it repeats the bare name when it finds none.
fn archive(linker: &Path, name: &str) -> Option<PathBuf> {
    let output = Command::new(linker).arg(format!("-print-file-name={name}")).stderr(Stdio::null()).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    let path = (output.status.success() && path.is_absolute()).then(|| fs::canonicalize(path).ok()).flatten()?;
    // The linker's scripts know no escape for it.
    path.to_str().filter(|path| !path.contains(['"', '\n']))?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(path)
}
