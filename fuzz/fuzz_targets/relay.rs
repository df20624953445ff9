#![no_main]

#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../../tests/targets/relay.rs"]
mod relay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    relay::play(data.iter().copied());
});
