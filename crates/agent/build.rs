//! Has the linker put what an agent seldom runs apart from what it runs all the time.
//!
//! The kernel brings a program in by 64 KiB around each page that is used (`fault_around_bytes`, mm/memory.c). With what is
//! run once a second between what is run once a year, nearly all of the program is in memory all the time.
//!
//! To count anew what is run: link a program that is not stripped, run it under `valgrind --tool=callgrind
//! --dump-instr=yes`, forget the counts once it is connected (`callgrind_control -z`), and after some minutes compare the
//! addresses (`callgrind_control -d`) with `nm -S`.

use std::path::Path;

/// Crates and modules of which little is run once an agent is connected.
const SELDOM: &[&str] = &[
    // Its start, its enrolment, and what is done on command.
    "muster_agent::cli",
    "muster_agent::command",
    "muster_agent::config",
    "muster_agent::enrol",
    "muster_agent::identity",
    "muster_agent::renew",
    "muster_agent::run",
    "muster_agent::update",
    "muster_agent::uplink::connect",
    "muster_model::command",
    "muster_proto::convert::command",
    "muster_recreate",
    // The command line and the settings.
    "anstream",
    "anstyle",
    "clap_builder",
    "clap_lex",
    "humantime",
    "serde_spanned",
    "strsim",
    "toml",
    "toml_datetime",
    "toml_parser",
    "toml_writer",
    // Where panics happened, and log lines.
    "addr2line",
    "gimli",
    "miniz_oxide",
    "rustc_demangle",
    "sharded_slab",
    "tracing_subscriber",
    // Handshakes and certificates.
    "asn1_rs",
    "der_parser",
    "nom",
    "num_bigint",
    "pem",
    "rcgen",
    "rustls",
    "rustls_pki_types",
    "webpki",
    "x509_parser",
    "yasna",
    // Addresses.
    "icu_normalizer",
    "idna",
    "percent_encoding",
    "url",
    // What is asked of an engine when something has changed, and the beginning of a call.
    "bollard",
    "bollard_stubs",
    "tonic",
    // Errors, and parts of crates that have no use here.
    "anyhow",
    "h2::server",
    "jiff::error",
    "jiff::fmt::strtime",
];

/// What is run often all the same: parts of the names.
const OFTEN: &[&str] = &[
    // The loop of the main thread is part of what starts it.
    "3cli4main",
    "in_runtime",
    "3run5Parts",
    "run..Parts",
    "7reports",
    "watch..Receiver",
    "drop_in_place$LT$core..pin..Pin",
    "drop_in_place$LT$core..result..Result$LT$jiff",
    "drop_in_place*Running",
    // Records of TLS, once a connection is there.
    "tokio_rustls",
    "6rustls4conn",
    "rustls..conn..",
    "rustls..error..Error",
    "6rustls4msgs4base",
    "6rustls4msgs5codec",
    "6rustls4msgs7message",
    "6vecbuf",
    "rustls..vecbuf",
    "8deframer",
    "deframer..",
    "7Chunker",
    "fragmenter",
    "common_state",
    "record_layer",
    "ExpectTraffic",
    "MessageDecrypt",
    "MessageEncrypt",
    "ProtocolVersion",
    // Messages of a call.
    "5tonic5codec",
    "5tonic6status",
    "tonic..codec..",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| told(name).as_deref() == Some(wanted);
    let is_meant =
        is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !is_meant || is_unwanted() {
        return Ok(());
    }
    let folder = told("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let script = Path::new(&folder).join("seldom.ld");
    std::fs::write(&script, text())?;
    println!("cargo:rustc-link-arg-bin=muster-agent=-T{}", script.display());
    Ok(())
}

/// Whether it was said that the linker is to be left alone, or that it is one that knows no scripts which add to its own
/// layout. The program is the same without, and takes more memory.
fn is_unwanted() -> bool {
    const SWITCH: &str = "MUSTER_USUAL_LAYOUT";
    println!("cargo:rerun-if-env-changed={SWITCH}");
    let flags = told("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let of_flags = flags
        .split(|c: char| c == '\x1f' || c == ',' || c.is_whitespace())
        .filter_map(|flag| flag.rsplit_once('=').map(|(_, value)| value.to_owned()));
    let linkers = told("RUSTC_LINKER").into_iter().chain(of_flags);
    let mut names = linkers.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned());
    told(SWITCH).is_some()
        || names.any(|name| ["gold", "ld.gold", "ld.mold", "mold", "wild"].contains(&name.as_str()))
}

/// What Cargo says, or whoever calls it.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way for a build script"
)]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A script that adds to the linker's own: `INSERT` in ld's manual. A function is a section of its own, named by it; the
/// first pattern that fits counts.
fn text() -> String {
    let often: String = OFTEN.iter().map(|part| format!("*(.text.*{part}*)\n")).collect();
    let seldom: String = SELDOM
        .iter()
        .flat_map(|path| {
            let parts = path.split("::").map(|part| format!("{}{part}", part.len()));
            // As a path in a name, and as a type in one.
            [
                format!("*(.text.*{}[0-9]*)\n", parts.collect::<String>()),
                format!("*(.text.*{}..*)\n", path.replace("::", "..")),
            ]
        })
        .collect();
    format!(
        "SECTIONS {{
.text_often : {{
{often}}}
.text_seldom : {{
{seldom}*(.text.*as$u20$core..fmt..Debug$GT$3fmt*)
}}
}}
INSERT AFTER .text;
"
    )
}
