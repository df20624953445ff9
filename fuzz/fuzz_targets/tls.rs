#![no_main]

#[path = "../../tests/targets/tls.rs"]
mod tls;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tls::check(data));
