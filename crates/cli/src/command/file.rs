//! Files that people give: objects and texts in YAML, of which JSON is a part.

use std::io::{Read as _, stdin};

use camino::Utf8Path;
use serde_json::{Map, Value};

use crate::client::ClientError;

/// Most bytes that are read: no rule and no channel comes near.
const BYTES_MAX: u64 = 8 << 20;

/// The text of a file; `-` reads it from standard input.
pub(super) fn text(file: &Utf8Path) -> Result<String, ClientError> {
    let mut text = String::new();
    let read = if file == "-" {
        stdin().take(BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| ClientError::Usage(format!("read {file}: {error}")))?;
    Ok(text)
}

/// A file that is an object.
pub(super) fn object(file: &Utf8Path) -> Result<Value, ClientError> {
    let parsed: Map<String, Value> = serde_norway::from_str(&text(file)?)
        .map_err(|error| ClientError::Usage(format!("{file} is no object in YAML or JSON: {error}")))?;
    Ok(Value::Object(parsed))
}
