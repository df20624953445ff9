//! Replays the inputs in `fuzz/corpus-kept` through the bodies of the fuzz targets: what
//! was found once stays mended, without a nightly toolchain.

mod model;
mod targets {
    pub(crate) mod head;
    pub(crate) mod packet;
    pub(crate) mod relay;
    pub(crate) mod session;
    #[cfg(feature = "tls")]
    pub(crate) mod tls;
}

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-kept").join(target);
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
fn heads_are_judged_the_same_in_pieces() {
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
