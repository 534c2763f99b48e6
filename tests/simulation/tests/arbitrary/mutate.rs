//! Inputs that are nearly right, which reach further into a parser than noise does.

/// Numbers at the edges of types, and words that mean something to somebody.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e309",
    b"-0.0",
    b"NaN",
    b"inf",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"[[[[[[[[",
    b"..",
    b"\\x00",
    b"\\040",
    b"\xff\xfe",
    "\u{202e}\u{1f4a9}".as_bytes(),
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
];
/// Longest input.
const BYTES_MAX: usize = 64 * 1024;

/// Real inputs of one target.
pub(crate) struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    pub(crate) fn of(inputs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(inputs.into_iter().collect())
    }

    pub(crate) fn text(inputs: &[&str]) -> Self {
        Self::of(inputs.iter().map(|text| text.as_bytes().to_vec()))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// The input of a case: the same for the same number.
    pub(crate) fn case(&self, case: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(case);
        if self.0.is_empty() || random.u8(..10) == 0 {
            let length = random.usize(..600);
            return (0..length).map(|_| random.u8(..)).collect();
        }
        let mut input = self.0[random.usize(..self.0.len())].clone();
        for _ in 0..1 << random.u32(..5) {
            self.change(&mut input, &mut random);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&self, input: &mut Vec<u8>, random: &mut fastrand::Rng) {
        let length = input.len();
        let at = random.usize(..=length);
        let end = (at + random.usize(..40)).min(length);
        match random.u8(..9) {
            0 if at < length => input[at] ^= 1 << random.u8(..8),
            1 if at < length => input[at] = random.u8(..),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let part = input[at..end].to_vec();
                let times = random.usize(1..5);
                for _ in 0..times {
                    input.splice(at..at, part.iter().copied());
                }
            }
            5 => {
                let word = WORDS[random.usize(..WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            6 => self.replace_a_number(input, at, random),
            7 => {
                let other = &self.0[random.usize(..self.0.len())];
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => {
                let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
                let line = lines[random.usize(..lines.len())].to_vec();
                input.splice(at..at, line);
            }
        }
    }

    /// The number after `at` becomes another one.
    fn replace_a_number(&self, input: &mut Vec<u8>, at: usize, random: &mut fastrand::Rng) {
        let Some(start) = input[at..].iter().position(u8::is_ascii_digit) else {
            return;
        };
        let start = at + start;
        let digits = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let word = WORDS[random.usize(..WORDS.len())];
        input.splice(start..start + digits, word.iter().copied());
    }
}
