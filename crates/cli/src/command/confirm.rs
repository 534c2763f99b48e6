//! Asking whether something that cannot be undone is meant.

use std::io::{self, IsTerminal as _, Write as _};

use crate::client::ClientError;
use crate::render::clean;

/// Passes if `is_sure`, or if somebody at the terminal types `word`.
pub(super) fn confirm(is_sure: bool, what: &str, word: &str) -> Result<(), ClientError> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(ClientError::Usage(format!("{what}: say --yes if that is meant")));
    }
    let terminal = |source| ClientError::Terminal { source };
    let word = clean(word);
    write!(io::stderr(), "{}. Type {word} to go on: ", clean(what)).map_err(terminal)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(terminal)?;
    if line.trim() == word {
        Ok(())
    } else {
        Err(ClientError::Failed("nothing was done".to_owned()))
    }
}
