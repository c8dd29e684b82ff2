//! See `hfctl::transport::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = hfctl::transport::fuzzing::client_http(data);
});
