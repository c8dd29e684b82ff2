//! See `hfd::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = hfd::fuzzing::journal_rows(data);
});
