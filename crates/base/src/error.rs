//! Printing an error with all its causes.

use std::error::Error;
use std::fmt;

/// Shows an error and each of its sources, joined by `: `.
///
/// ```
/// use muster_base::ErrorChain;
/// let error = std::io::Error::other("disk on fire");
/// assert_eq!(ErrorChain(&error).to_string(), "disk on fire");
/// ```
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
