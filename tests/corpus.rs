//! Replays the inputs in `fuzz/corpus-kept` through the bodies of the fuzz targets: bugs that
//! were found once stay fixed. It needs no nightly toolchain. The package on crates.io has no
//! `fuzz` folder: there each test says that it is skipped.

mod model;
mod targets {
    pub(crate) mod head;
    pub(crate) mod packet;
    pub(crate) mod relay;
    pub(crate) mod session;
    #[cfg(feature = "tls")]
    pub(crate) mod tls;
}

use std::io::Write;
use std::path::Path;
use std::{fs, io};

fn replay(target: &str, check: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // cargo adds this file to a package. A clone has no such file, and must have the inputs.
    if root.join("Cargo.toml.orig").exists() {
        // Not by `eprintln!`, since the output of tests that pass is not shown.
        let line = format!("SKIPPED corpus of {target}: not in the package\n");
        return io::stderr().write_all(line.as_bytes()).expect("a place to say so");
    }
    let folder = root.join("fuzz/corpus-kept").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("a folder of inputs") {
        let path = entry.expect("an input").path();
        // Shown only if the test fails.
        println!("{}", path.display());
        check(&fs::read(&path).expect("a file"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn packets_are_read_by_the_rules() {
    replay("packet", targets::packet::check);
}

#[test]
fn head_in_pieces_is_read_like_the_whole() {
    replay("head", targets::head::check);
}

#[test]
fn relay_delivers_what_the_model_expects() {
    replay("relay", |data| {
        targets::relay::play(data.iter().copied());
    });
}

#[test]
fn session_does_not_depend_on_pieces() {
    replay("session", targets::session::check);
}

#[cfg(feature = "tls")]
#[test]
fn tls_does_not_depend_on_pieces() {
    replay("tls", targets::tls::check);
}
