//! Compiles the protos without `protoc`, and keeps the descriptor set for server reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 4] =
    ["varve/v1/log.proto", "varve/v1/cluster.proto", "varve/v1/debug.proto", "log/v1/log.proto"];
const INCLUDE: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={INCLUDE}");
    let descriptors = protox::compile(PROTOS, [INCLUDE])?;

    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
