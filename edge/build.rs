//! Generates the clients of a container runtime from `proto/`, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["cri-v1.proto", "containerd-tasks-v1.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // The server sides are the fake runtime's, in unit tests.
        .server_mod_attribute(".", "#[cfg(test)]")
        .generate_default_stubs(true)
        .disable_comments(["."])
        .btree_map(".")
        // They carry secrets; `cri::proto` prints them without.
        .skip_debug([".runtime.v1.AuthConfig", ".runtime.v1.KeyValue"])
        .compile_fds(descriptors)?;
    Ok(())
}
