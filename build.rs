//! Tells the program which commit it is made of, for `moss --version`; and packs the
//! relocations of a static one.
//!
//! The commit of release builds alone: all of moss is built anew when this changes, and tests need not be
//! for each commit. Where there is no `.git`, as in an image or of a tarball, whoever builds may
//! say it by `MOSS_COMMIT`; without either the version stands alone. Changes that are not
//! committed are not told of: they come and go without git's files changing.

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
    println!("cargo::rustc-env=MOSS_VERSION={}{commit}", variable("CARGO_PKG_VERSION"));

    let is_static = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|it| it == "crt-static");
    let is_own =
        variable("CARGO_CFG_TARGET_ENV") == "gnu" && variable("HOST") == variable("TARGET");
    if is_static && is_own && glibc() >= Some(PACKING_GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The first glibc whose static programs unpack their relocations when they start; those of
/// older ones would crash. A program that may lie anywhere in memory has fifty kilobytes of
/// them, and packed they take one.
const PACKING_GLIBC: (u32, u32) = (2, 36);

/// The version of this machine's glibc, if it says.
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// The commit that is checked out, from git's files: the program need not be there, and refuses
/// to speak of another user's clone.
fn head(folder: &Path) -> Option<String> {
    let git = folder.join(".git");
    // In a second work tree it is a file that says where the folder is.
    let git = match fs::read_to_string(&git) {
        Ok(text) => folder.join(text.trim().strip_prefix("gitdir: ")?),
        Err(_) => git,
    };
    let shared = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git.clone(),
    };
    // The first changes with the branch, and the other with each commit. One that is not there
    // would have cargo build anew each time.
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

/// Where a branch is: a file of its own has the last word.
fn branch(git: &Path, name: &str) -> Option<String> {
    fs::read_to_string(git.join(name)).ok().or_else(|| {
        let packed = fs::read_to_string(git.join("packed-refs")).ok()?;
        packed.lines().find_map(|line| {
            let (id, other) = line.split_once(' ')?;
            (other == name).then(|| id.to_owned())
        })
    })
}
