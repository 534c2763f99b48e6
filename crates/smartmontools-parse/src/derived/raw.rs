//! What the raw bits of an attribute mean.

use crate::report::Attribute;

impl Attribute {
    /// The attribute's count.
    ///
    /// Raw values are 48 bits in whatever form the vendor likes. smartctl's drive database knows many of the forms, so
    /// the first number of its text counts (`304 (12 0)`, `2 2 2`, `13410h+17m`); the number beside it is all
    /// bits together and often no count at all. What is still beyond 32 bits is several 16-bit words in a form the
    /// database does not know (Seagate's `Command_Timeout` 51540393996 is 12, 12, 12); the lowest is the count.
    pub fn raw_number(&self) -> Option<u64> {
        let number = self
            .raw_string
            .as_deref()
            .and_then(leading_number)
            .or(self.raw_value)?;
        Some(if u32::try_from(number).is_ok() {
            number
        } else {
            number & 0xffff
        })
    }

    /// All digits of a raw value that is one long number, such as blocks written.
    pub(crate) fn raw_long(&self) -> Option<u64> {
        self.raw_string
            .as_deref()
            .and_then(leading_number)
            .or(self.raw_value)
    }
}

fn leading_number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        let digits: String = hex.chars().take_while(char::is_ascii_hexdigit).collect();
        return u64::from_str_radix(&digits, 16).ok();
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Whether the attribute's name contains one of these words, in any case and with `-` and `_` alike, or is one of
/// smartctl's names for "nobody knows", in which case its number has to be trusted.
pub(crate) fn is_named(attribute: &Attribute, words: &[&str]) -> bool {
    let name = attribute.name.to_ascii_lowercase().replace('-', "_");
    let is_unknown = matches!(
        name.as_str(),
        "unknown_attribute" | "unknown_hdd_attribute" | "unknown_ssd_attribute"
    );
    is_unknown || words.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64, text: &str) -> Option<u64> {
        let attribute = Attribute {
            raw_value: Some(value),
            raw_string: Some(text.to_owned()),
            ..Attribute::default()
        };
        attribute.raw_number()
    }

    #[test]
    fn the_text_is_trusted_before_the_bits() {
        assert_eq!(number(51_539_607_856, "304 (12 0)"), Some(304));
        assert_eq!(number(8_590_065_666, "2 2 2"), Some(2));
        assert_eq!(number(0x1_0000_0000_0003, "0x0000000000000003"), Some(3));
        assert_eq!(number(7, "none"), Some(7));
    }

    #[test]
    fn several_words_in_an_unknown_form_count_by_the_lowest() {
        assert_eq!(number(51_540_393_996, "51540393996"), Some(12));
    }
}
