//! Generates the messages from `proto/`, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["dmi-v1beta1.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .disable_comments(["."])
        .btree_map(".")
        // Passwords of devices may be in them; `src/lib.rs` prints their keys only.
        .skip_debug([".v1beta1.CustomizedValue", ".v1beta1.AnomalyDetection"])
        .compile_fds(descriptors)?;
    Ok(())
}
