//! Passes the commit to the program, for `moss --version`, and packs the relocations of a static
//! program.
//!
//! The commit is passed to release builds only: a new one rebuilds all of moss, which tests do
//! not need. Without `.git`, as in an image or from a tarball, `MOSS_COMMIT` can name it;
//! without either, the version has no commit. Uncommitted changes are not shown: git's files
//! do not change with them.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MOSS_COMMIT");
    let variable = |name| env::var(name).unwrap_or_default();
    let commit = match variable("MOSS_COMMIT") {
        given if !given.is_empty() => Some(given),
        _ if variable("PROFILE") == "release" => head(Path::new(&variable("CARGO_MANIFEST_DIR"))),
        _ => None,
    };
    let commit = commit.map_or_else(String::new, |commit| format!(" ({commit})"));
    // Not MOSS_VERSION: `cargo run` sets it for the program too, which would take it for a setting.
    println!("cargo::rustc-env=VERSION_AND_COMMIT={}{commit}", variable("CARGO_PKG_VERSION"));

    let is_static = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|it| it == "crt-static");
    let is_own =
        variable("CARGO_CFG_TARGET_ENV") == "gnu" && variable("HOST") == variable("TARGET");
    if is_static && is_own && glibc() >= Some(PACKING_GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The first glibc whose static programs can unpack packed relocations; with an older one they
/// would crash at start. A position-independent moss has fifty kilobytes of relocations, and one
/// if they are packed.
const PACKING_GLIBC: (u32, u32) = (2, 36);

/// The version of this machine's glibc, if known.
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// The commit that is checked out, from git's files: git itself may not be installed, and refuses
/// to work in another user's clone.
fn head(folder: &Path) -> Option<String> {
    let git = folder.join(".git");
    // In an additional work tree it is a file that names the folder.
    let git = match fs::read_to_string(&git) {
        Ok(text) => folder.join(text.trim().strip_prefix("gitdir: ")?),
        Err(_) => git,
    };
    let shared = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git.clone(),
    };
    // HEAD changes with the branch, its log with each commit. If one did not exist, cargo would
    // rebuild each time.
    for file in [git.join("HEAD"), git.join("logs/HEAD")] {
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let id = match head.strip_prefix("ref: ") {
        None => head,
        Some(name) => branch(&shared, name.trim())?,
    };
    let id = id.trim();
    let is_id = id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id[..12].to_owned())
}

/// The commit of a branch: its own file overrides `packed-refs`.
fn branch(git: &Path, name: &str) -> Option<String> {
    fs::read_to_string(git.join(name)).ok().or_else(|| {
        let packed = fs::read_to_string(git.join("packed-refs")).ok()?;
        packed.lines().find_map(|line| {
            let (id, other) = line.split_once(' ')?;
            (other == name).then(|| id.to_owned())
        })
    })
}
