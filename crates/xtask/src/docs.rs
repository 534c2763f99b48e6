//! Documents made from code: docs/collectors.md, docs/default-rules.md, docs/metrics.md and the example settings in
//! deploy/.
//!
//! The generator is this crate's test `generated_docs`. As a test it is built with the whole workspace anyway, while
//! this tool stays small; and a stale document fails `make test`.

use camino::Utf8Path;

use crate::process;

/// Writes the documents, or only checks them; whether they are current now.
pub(crate) fn run(root: &Utf8Path, is_check: bool) -> anyhow::Result<bool> {
    let mut test = process::command("cargo", root);
    test.args([
        "test",
        "--quiet",
        "--locked",
        "--package",
        "xtask",
        "--test",
        "generated_docs",
    ]);
    if !is_check {
        test.env("MUSTER_WRITE_DOCS", "1");
    }
    process::succeeds(&mut test)
}
