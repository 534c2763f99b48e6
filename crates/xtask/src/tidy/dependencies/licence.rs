//! Does an SPDX expression leave a choice that is allowed?

use std::collections::BTreeSet;

/// Whether the expression can be met with allowed licences alone. What does not parse is not allowed.
pub(super) fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Old manifests write "MIT/Apache-2.0" for a choice.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        allowed,
    };
    parser.any() == Some(true) && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl Parser<'_> {
    fn next_if(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.next_if("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.next_if("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.next_if("(") {
            let met = self.any()?;
            return self.next_if(")").then_some(met);
        }
        let (name, rest) = self.words.split_first()?;
        self.words = rest;
        if self.next_if("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            return Some(self.allowed.contains(&format!("{name} WITH {exception}")));
        }
        Some(self.allowed.contains(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(expression: &str) -> bool {
        let allowed = ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"]
            .map(str::to_owned)
            .into();
        is_allowed(expression, &allowed)
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(allows("MIT OR GPL-3.0"));
        assert!(allows("MIT/Unknown"));
        assert!(!allows("GPL-3.0 OR AGPL-3.0"));
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        assert!(allows("Apache-2.0 AND ISC"));
        assert!(allows("(MIT OR GPL-3.0) AND ISC"));
        assert!(!allows("MIT AND GPL-3.0"));
    }

    #[test]
    fn exceptions_and_nonsense() {
        assert!(allows("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
        assert!(!allows("GPL-2.0 WITH Classpath-exception-2.0"));
        assert!(!allows("(MIT"));
        assert!(!allows(""));
    }
}
