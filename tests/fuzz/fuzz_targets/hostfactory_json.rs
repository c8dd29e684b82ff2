//! See `hfd::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = hfd::fuzzing::hostfactory_json(data);
});
