//! Texts for other systems: without control characters, escaped, and no longer than they take.

/// What stands at the end of a text that was cut.
const MARK: &str = "…";

/// How a system measures texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// UTF-8 bytes.
    Bytes,
    /// Unicode scalar values.
    Chars,
    /// UTF-16 code units, as systems written in JavaScript, Java or C# do.
    Utf16,
}

impl Measure {
    fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }
}

/// How a character is written in a markup.
pub(crate) type Escape = fn(char, &mut String);

/// As it is.
pub(crate) fn verbatim(char: char, out: &mut String) {
    out.push(char);
}

/// HTML text.
pub(crate) fn html(char: char, out: &mut String) {
    match char {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        _ => out.push(char),
    }
}

/// Slack's `mrkdwn`, in which these three begin mentions and links:
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
pub(crate) fn slack(char: char, out: &mut String) {
    match char {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(char),
    }
}

/// Discord's Markdown. Mentions are switched off in the message itself.
pub(crate) fn discord(char: char, out: &mut String) {
    if matches!(
        char,
        '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']' | '(' | ')' | '<' | '@'
    ) {
        out.push('\\');
    }
    out.push(char);
}

/// The escaped text, cut with a mark so that it measures `max` at most. A character is never cut in half, nor is what
/// it was escaped to.
pub(crate) fn fit(text: &str, max: usize, measure: Measure, escape: Escape) -> String {
    let mark = measure.of(MARK);
    let mut out = String::with_capacity(text.len().min(max * 4));
    let (mut size, mut safe_end) = (0, 0);
    for char in text.chars() {
        let before = out.len();
        escape(char, &mut out);
        size += measure.of(&out[before..]);
        if max < size {
            out.truncate(safe_end);
            if mark <= max {
                out.push_str(MARK);
            }
            return out;
        }
        if size + mark <= max {
            safe_end = out.len();
        }
    }
    out
}

/// Without control characters and those that turn the direction of writing, which can make a text read as another one.
/// Line ends and tabs stay.
pub(crate) fn plain(text: &str) -> String {
    let kept = text.chars().filter(|char| match char {
        '\n' | '\t' => true,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        char => !char.is_control(),
    });
    kept.collect::<String>().trim().to_owned()
}

/// The same on one line: no line end of any kind is left, so that none of it becomes a header.
pub(crate) fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|char| {
            if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                char
            }
        })
        .collect();
    let plain = plain(&spaced);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_with_a_mark_and_never_inside_an_escape() {
        assert_eq!(fit("abcdef", 6, Measure::Chars, verbatim), "abcdef");
        assert_eq!(fit("abcdef", 5, Measure::Chars, verbatim), "abcd…");
        assert_eq!(fit("a&b&c", 11, Measure::Chars, html), "a&amp;b…");
        assert_eq!(fit("äöü", 5, Measure::Bytes, verbatim), "ä…");
        assert_eq!(fit("😀😀", 3, Measure::Utf16, verbatim), "😀…");
        assert_eq!(fit("abc", 0, Measure::Chars, verbatim), "");
    }

    #[test]
    fn a_line_end_of_any_kind_cannot_begin_a_header() {
        let evil = "disk\r\nBcc: all@example.org\u{2028}x\u{85}y\0z\u{202e}";
        assert_eq!(one_line(evil), "disk Bcc: all@example.org x y z");
    }

    #[test]
    fn nobody_is_mentioned_and_nothing_is_marked_up_by_accident() {
        assert_eq!(
            fit("<!channel> a&b", 100, Measure::Chars, slack),
            "&lt;!channel&gt; a&amp;b"
        );
        assert_eq!(
            fit("@everyone **x** [a](b)", 100, Measure::Chars, discord),
            "\\@everyone \\*\\*x\\*\\* \\[a\\]\\(b\\)"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_cut_measures_no_more_than_it_may(
            text in "\\PC{0,200}",
            max in 0_usize..120,
            measure in prop::sample::select(vec![Measure::Bytes, Measure::Chars, Measure::Utf16]),
            escape in prop::sample::select(vec![verbatim as Escape, html, slack, discord]),
        ) {
            let cut = fit(&text, max, measure, escape);
            prop_assert!(measure.of(&cut) <= max);
            let whole = fit(&text, usize::MAX / 8, measure, escape);
            prop_assert!(cut == whole || whole.starts_with(cut.strip_suffix(MARK).unwrap_or(&cut)));
        }
    }
}
