//! Generates the services of DMI from its protobuf file, without protoc. The messages are `dmi-proto`'s.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../dmi-proto/proto");
    let descriptors = protox::compile(["dmi-v1beta1.proto"], ["../dmi-proto/proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .disable_comments(["."])
        .extern_path(".v1beta1", "::dmi_proto::v1beta1")
        .compile_fds(descriptors)?;
    Ok(())
}
