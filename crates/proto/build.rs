//! Compiles `proto/` in pure Rust: no protoc has to be installed and nothing generated is committed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile([root.join("muster/v1/agent.proto")], [&root])?;
    // Both sides bring their own TLS connection; tonic's own connecting code would also clash with `rpc Connect`.
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
