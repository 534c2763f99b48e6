//! Series selectors as text: `metric{label="value", other=~"expression"}`.
//!
//! The syntax is that of Prometheus: an optional metric name, then optional conditions in braces, a trailing
//! comma allowed. Values stand in `"` or `'` with the escapes of Go, or in backquotes without any. Pure.

use thiserror::Error;

use crate::NAME_LABEL;
use crate::matcher::{MatchOp, Matcher, PatternError};

/// Longest selector that is looked at, in bytes.
const SELECTOR_BYTES_MAX: usize = 8 * 1024;

/// Why a text is no selector. Offsets count bytes from 0.
#[derive(Debug, Error)]
pub enum SelectorError {
    /// It is too long to be looked at.
    #[error("selector of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Something else should stand there.
    #[error("expected {expected} at offset {offset}")]
    Expected {
        /// What should stand there.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
    /// A quoted value has no end.
    #[error("the string that starts at offset {offset} does not end")]
    Unterminated {
        /// Where it starts.
        offset: usize,
    },
    /// A backslash is followed by something that means nothing.
    #[error("bad escape at offset {offset}")]
    Escape {
        /// Where the backslash is.
        offset: usize,
    },
    /// The metric's name is given twice.
    #[error("metric name is given both before and within the braces")]
    TwoNames,
    /// Every series would match.
    #[error("selector needs a condition that does not match the empty value")]
    MatchesAll,
    /// A condition has a bad regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Reads a selector; a metric name becomes a matcher of `__name__`.
///
/// ```
/// let matchers = muster_samples::selector::parse(r#"node_cpu_seconds_total{mode!="idle"}"#)?;
/// assert_eq!((matchers[0].name(), matchers[1].value()), ("__name__", "idle"));
/// # Ok::<(), muster_samples::selector::SelectorError>(())
/// ```
///
/// # Errors
/// [`SelectorError`] says what is wrong and where.
pub fn parse(text: &str) -> Result<Vec<Matcher>, SelectorError> {
    if SELECTOR_BYTES_MAX < text.len() {
        return Err(SelectorError::TooLong { bytes: text.len() });
    }
    let mut parser = Parser { text, offset: 0 };
    let mut matchers = Vec::new();
    parser.skip_space();
    let name = parser.name(|c| c == ':');
    if let Some(name) = name {
        matchers.push(Matcher::equal(NAME_LABEL, name));
    }
    parser.skip_space();
    if parser.eat('{') {
        parser.conditions(&mut matchers)?;
    } else if name.is_none() {
        return Err(parser.expected("a metric name or `{`"));
    }
    parser.skip_space();
    if parser.offset < text.len() {
        return Err(parser.expected("the end"));
    }
    if name.is_some() && matchers[1..].iter().any(|matcher| matcher.name() == NAME_LABEL) {
        return Err(SelectorError::TwoNames);
    }
    if matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(SelectorError::MatchesAll);
    }
    Ok(matchers)
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    const fn expected(&self, expected: &'static str) -> SelectorError {
        SelectorError::Expected {
            expected,
            offset: self.offset,
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        self.offset += if found { wanted.len_utf8() } else { 0 };
        found
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, and what `also` permits.
    fn name(&mut self, also: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.offset += length;
        (0 < length).then_some(&rest[..length])
    }

    /// What follows the opening brace, the closing one included.
    fn conditions(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), SelectorError> {
        loop {
            self.skip_space();
            if self.eat('}') {
                return Ok(());
            }
            matchers.push(self.condition()?);
            self.skip_space();
            if !self.eat(',') && !self.rest().starts_with('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn condition(&mut self) -> Result<Matcher, SelectorError> {
        let Some(name) = self.name(|_| false) else {
            return Err(self.expected("a label name or `}`"));
        };
        self.skip_space();
        let op = self.op()?;
        self.skip_space();
        let value = self.string()?;
        Ok(Matcher::new(name, op, value)?)
    }

    fn op(&mut self) -> Result<MatchOp, SelectorError> {
        const OPS: [(&str, MatchOp); 4] = [
            ("=~", MatchOp::Re),
            ("!~", MatchOp::Nre),
            ("!=", MatchOp::Ne),
            ("=", MatchOp::Eq),
        ];
        let rest = self.rest();
        let found = OPS.into_iter().find(|(sign, _)| rest.starts_with(sign));
        let (sign, op) = found.ok_or_else(|| self.expected("`=`, `!=`, `=~` or `!~`"))?;
        self.offset += sign.len();
        Ok(op)
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        let start = self.offset;
        let quote = ['"', '\'', '`'].into_iter().find(|quote| self.eat(*quote));
        let quote = quote.ok_or_else(|| self.expected("a quoted value"))?;
        let mut value = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(SelectorError::Unterminated { offset: start });
            };
            let at = self.offset;
            self.offset += next.len_utf8();
            match next {
                _ if next == quote => return Ok(value),
                '\\' if quote != '`' => {
                    value.push(self.escape(quote).ok_or(SelectorError::Escape { offset: at })?);
                }
                '\n' if quote != '`' => return Err(SelectorError::Unterminated { offset: start }),
                _ => value.push(next),
            }
        }
    }

    /// What follows a backslash, as Go has it, except that a number names a character and not a byte.
    fn escape(&mut self, quote: char) -> Option<char> {
        let kind = self.rest().chars().next()?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => return self.number(3, 8).filter(|c| c.is_ascii()),
            _ => 0,
        };
        self.offset += kind.len_utf8();
        match kind {
            'x' => self.number(digits, 16).filter(char::is_ascii),
            'u' | 'U' => self.number(digits, 16),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            '\\' => Some('\\'),
            _ if kind == quote => Some(quote),
            _ => None,
        }
    }

    fn number(&mut self, digits: usize, radix: u32) -> Option<char> {
        let text = self.rest().get(..digits)?;
        // `from_str_radix` would also take a sign.
        if !text.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.offset += digits;
        char::from_u32(u32::from_str_radix(text, radix).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Shown = (String, MatchOp, String);

    fn shown(text: &str) -> Result<Vec<Shown>, String> {
        parse(text)
            .map(|matchers| {
                let of = |m: &Matcher| (m.name().to_owned(), m.op(), m.value().to_owned());
                matchers.iter().map(of).collect()
            })
            .map_err(|error| error.to_string())
    }

    fn one(name: &str, op: MatchOp, value: &str) -> Shown {
        (name.to_owned(), op, value.to_owned())
    }

    #[test]
    fn selectors_mean_what_they_mean_in_prometheus() {
        let up = one(NAME_LABEL, MatchOp::Eq, "up");
        let table: &[(&str, Vec<Shown>)] = &[
            ("up", vec![up.clone()]),
            (" up { } ", vec![up.clone()]),
            ("a:b:c", vec![one(NAME_LABEL, MatchOp::Eq, "a:b:c")]),
            (r#"{__name__="up"}"#, vec![up.clone()]),
            (
                r#"{__name__=~"node_.+",}"#,
                vec![one(NAME_LABEL, MatchOp::Re, "node_.+")],
            ),
            (
                r#"up{a="1",b != '2' , c=~`3\d`,d!~"4.*"}"#,
                vec![
                    up.clone(),
                    one("a", MatchOp::Eq, "1"),
                    one("b", MatchOp::Ne, "2"),
                    one("c", MatchOp::Re, r"3\d"),
                    one("d", MatchOp::Nre, "4.*"),
                ],
            ),
            (
                r#"up{a="\"\\\n\t\x41\u00e4\U0001F600\101"}"#,
                vec![up.clone(), one("a", MatchOp::Eq, "\"\\\n\tAä😀A")],
            ),
            (
                r#"up{a='it\'s "so"'}"#,
                vec![up.clone(), one("a", MatchOp::Eq, "it's \"so\"")],
            ),
            (
                "up{a=`\\n\n\"'`}",
                vec![up.clone(), one("a", MatchOp::Eq, "\\n\n\"'")],
            ),
            (
                r#"up{a="",b=""}"#,
                vec![up, one("a", MatchOp::Eq, ""), one("b", MatchOp::Eq, "")],
            ),
            (
                r#"{a="1",a!="2"}"#,
                vec![one("a", MatchOp::Eq, "1"), one("a", MatchOp::Ne, "2")],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let table = [
            ("", "expected a metric name or `{` at offset 0"),
            ("1up", "expected a metric name or `{` at offset 0"),
            ("up down", "expected the end at offset 3"),
            ("up[5m]", "expected the end at offset 2"),
            ("up{", "expected a label name or `}` at offset 3"),
            ("up{,}", "expected a label name or `}` at offset 3"),
            ("up{a}", "expected `=`, `!=`, `=~` or `!~` at offset 4"),
            ("up{a==\"1\"}", "expected a quoted value at offset 5"),
            ("up{a=1}", "expected a quoted value at offset 5"),
            ("up{a=\"1\" b=\"2\"}", "expected `,` or `}` at offset 9"),
            ("up{a=\"1\"", "expected `,` or `}` at offset 8"),
            ("up{a:b=\"1\"}", "expected `=`, `!=`, `=~` or `!~` at offset 4"),
            ("up{a=\"1}", "the string that starts at offset 5 does not end"),
            ("up{a=\"1\n\"}", "the string that starts at offset 5 does not end"),
            (r#"up{a="\q"}"#, "bad escape at offset 6"),
            (r#"up{a="\'"}"#, "bad escape at offset 6"),
            (r#"up{a="\x+1"}"#, "bad escape at offset 6"),
            (r#"up{a="\uD800"}"#, "bad escape at offset 6"),
            (r#"up{a=~"("}"#, "bad regular expression \"(\""),
            (
                r#"up{__name__="down"}"#,
                "metric name is given both before and within the braces",
            ),
            (
                "{}",
                "selector needs a condition that does not match the empty value",
            ),
            (
                r#"{a=~".*",b!="x"}"#,
                "selector needs a condition that does not match the empty value",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), Err(expected.to_owned()), "{text}");
        }
        let long = format!("up{{a=\"{}\"}}", "x".repeat(SELECTOR_BYTES_MAX));
        assert!(matches!(parse(&long), Err(SelectorError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_value_survives_quoting(value in any::<String>()) {
            let mut quoted = String::new();
            for c in value.chars() {
                match c {
                    '\\' | '"' => quoted.extend(['\\', c]),
                    '\n' => quoted.push_str("\\n"),
                    _ => quoted.push(c),
                }
            }
            let matchers = parse(&format!("up{{a=\"{quoted}\"}}")).unwrap();
            prop_assert_eq!(matchers[1].value(), value);
        }
    }
}
