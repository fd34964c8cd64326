//! Compiles `proto/` with protox, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const FILES: &[&str] = &["env_manager/v1/reconciler.proto", "orchestrator.v1.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // For reflection.
    let set = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(&set, prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
