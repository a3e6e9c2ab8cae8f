#![no_main]

#[path = "../targets.rs"]
#[expect(dead_code, reason = "each target runs one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::raw_message(input));
