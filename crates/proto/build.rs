//! Compiles `proto/` in pure Rust: no protoc has to be installed and nothing generated is committed.

use std::path::Path;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["agent", "control"].map(|name| root.join(format!("muster/v1/{name}.proto")));
    let descriptors = protox::compile(files, [&root])?;
    // What tools are told which calls a controller has for programs.
    let control = protox::compile([root.join("muster/v1/control.proto")], [&root])?;
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("control.bin"), control.encode_to_vec())?;
    // Both sides bring their own TLS connection; tonic's own connecting code would also clash with `rpc Connect`.
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .compile_fds(descriptors)?;
    Ok(())
}
