//! A long column of values in pages that decode alone, so that an hour of a day costs little more than an hour.
//!
//! What the pages have in common (the form, exceptions, statistics) stands once, before them. A column that is
//! shorter otherwise, such as one that never changes, stands there as a whole and has empty pages.

use super::decimal::pages as decimal;
use super::{Scratch, packed};
use crate::bytes::Cursor;

/// Everything is in the common part, as [`super::encode`] writes it.
const WHOLE: u8 = 0;
/// See [`decimal`].
const DECIMAL: u8 = 1;
/// See [`packed`].
const FLOAT: u8 = 2;

/// A column in pages.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// What all pages need.
    pub(crate) common: Vec<u8>,
    /// The pages.
    pub(crate) pages: Vec<Vec<u8>>,
}

/// Working memory for reading.
#[derive(Default)]
pub(crate) struct PageScratch(decimal::PageScratch);

/// Cuts a column into pages of `page_points` values, the last one shorter perhaps.
pub(crate) fn encode(values: &[f64], page_points: usize, scratch: &mut Scratch) -> Encoded {
    let count = values.len().div_ceil(page_points);
    let mut whole = vec![WHOLE];
    super::encode(values, scratch, &mut whole);
    let whole = Encoded {
        common: whole,
        pages: vec![Vec::new(); count],
    };
    let is_constant = matches!(
        whole.common.get(1),
        Some(&(super::CONSTANT | super::CONSTANT_WHOLE))
    );
    if is_constant {
        return whole;
    }
    let packed = decimal_pages(values, page_points, scratch).or_else(|| float_pages(values, page_points));
    // Compared with what was given, so that nothing rests on the packing's being without defects.
    let packed = packed.filter(|packed| packed.len() < whole.len() && packed.is_of(values, page_points));
    packed.unwrap_or(whole)
}

fn decimal_pages(values: &[f64], page_points: usize, scratch: &mut Scratch) -> Option<Encoded> {
    let mut common = vec![DECIMAL];
    let pages = decimal::encode(values, page_points, &mut scratch.decimal, &mut common)?;
    Some(Encoded { common, pages })
}

fn float_pages(values: &[f64], page_points: usize) -> Option<Encoded> {
    let mut common = vec![FLOAT];
    let counts = values.chunks(page_points).map(<[f64]>::len).collect();
    let pages = packed::float_pages(values, counts, &mut common)?;
    Some(Encoded { common, pages })
}

impl Encoded {
    fn len(&self) -> usize {
        self.common.len() + self.pages.iter().map(Vec::len).sum::<usize>()
    }

    fn is_of(&self, values: &[f64], page_points: usize) -> bool {
        let Some(column) = Column::parse(&self.common, values.len(), page_points) else {
            return false;
        };
        let mut scratch = PageScratch::default();
        let mut read = Vec::with_capacity(values.len());
        let pages = self.pages.iter().enumerate();
        let is_read = pages
            .map(|(index, bytes)| column.read(index, bytes, &mut scratch, &mut read))
            .all(|outcome| outcome.is_some());
        let is_same = |(left, right): (&f64, &f64)| left.to_bits() == right.to_bits();
        is_read && read.len() == values.len() && read.iter().zip(values).all(is_same)
    }
}

/// A column whose common part was read.
#[derive(Debug)]
pub(crate) struct Column {
    count: usize,
    page_points: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Whole(Vec<f64>),
    Decimal(Box<decimal::Pages>),
    Float(Box<packed::Pages<f64>>),
}

impl Column {
    /// Reads the common part of `count` values in pages of `page_points`.
    pub(crate) fn parse(common: &[u8], count: usize, page_points: usize) -> Option<Self> {
        let mut cursor = Cursor::new(common);
        let form = match cursor.byte()? {
            WHOLE => Form::Whole(super::decode(cursor.rest(), count)?),
            DECIMAL => Form::Decimal(Box::new(decimal::Pages::parse(&mut cursor, count, page_points)?)),
            FLOAT => Form::Float(Box::new(packed::Pages::parse(&mut cursor)?)),
            _ => return None,
        };
        Some(Self {
            count,
            page_points,
            form,
        })
    }

    /// Appends the values of a page.
    pub(crate) fn read(
        &self,
        index: usize,
        bytes: &[u8],
        scratch: &mut PageScratch,
        values: &mut Vec<f64>,
    ) -> Option<()> {
        let start = index.checked_mul(self.page_points)?;
        let rest = self.count.checked_sub(start).filter(|rest| 0 < *rest)?;
        let count = rest.min(self.page_points);
        match &self.form {
            Form::Whole(whole) => {
                values.extend_from_slice(whole.get(start..start + count)?);
                bytes.is_empty().then_some(())
            }
            Form::Decimal(pages) => pages.read(index, start, count, bytes, &mut scratch.0, values),
            Form::Float(pages) => pages.read(bytes, count, &mut scratch.0.pco, values),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_model::STALE_NAN;
    use proptest::prelude::*;

    use super::*;

    fn assert_every_page_comes_back(values: &[f64], page_points: usize) {
        let encoded = encode(values, page_points, &mut Scratch::default());
        let column = Column::parse(&encoded.common, values.len(), page_points).unwrap();
        let mut scratch = PageScratch::default();
        // The last first: none needs another.
        for (index, expected) in values.chunks(page_points).enumerate().rev() {
            let mut read = Vec::new();
            let bytes = &encoded.pages[index];
            column.read(index, bytes, &mut scratch, &mut read).unwrap();
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(expected), "page {index} of {values:?}");
        }
        let beyond = encoded.pages.len();
        assert_eq!(column.read(beyond, &[], &mut scratch, &mut Vec::new()), None);
    }

    #[test]
    fn each_page_of_a_counter_that_steps_back_and_ends_decodes_alone() {
        let mut counter: Vec<f64> = (0..1_000_u32)
            .map(|n| f64::from(n * n % 40_000) / 100.0)
            .collect();
        counter[499] = STALE_NAN;
        counter[500] = -0.0;
        for page_points in [3, 7, 100, 250, 999, 1_000, 5_000] {
            assert_every_page_comes_back(&counter, page_points);
        }
    }

    #[test]
    fn pages_of_what_never_changes_are_empty() {
        let encoded = encode(&[7.5; 5_760], 960, &mut Scratch::default());
        assert_eq!((encoded.common.len(), encoded.len()), (10, 10));
        assert_every_page_comes_back(&[7.5; 5_760], 960);
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            10 => (-1_000_000_i32..1_000_000).prop_map(f64::from),
            10 => (-1_000_000_i32..1_000_000).prop_map(|n| f64::from(n) / 100.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => any::<i64>().prop_map(|n| n as f64),
            1 => Just(STALE_NAN),
        ]
    }

    proptest! {
        #[test]
        fn any_bits_come_back(
            values in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..300), page_points in 3_usize..100,
        ) {
            assert_every_page_comes_back(&values, page_points);
        }

        #[test]
        fn any_mixture_comes_back(
            values in prop::collection::vec(any_value(), 1..300), page_points in 3_usize..100,
        ) {
            assert_every_page_comes_back(&values, page_points);
        }

        #[test]
        fn any_flipped_bit_is_decoded_or_refused(
            values in prop::collection::vec(any_value(), 1..300), place in any::<usize>(), bit in 0..8_u8,
        ) {
            let mut encoded = encode(&values, 50, &mut Scratch::default());
            let length = encoded.common.len();
            encoded.common[place % length] ^= 1_u8 << bit;
            if let Some(column) = Column::parse(&encoded.common, values.len(), 50) {
                let mut read = Vec::new();
                let _ = column.read(0, &encoded.pages[0], &mut PageScratch::default(), &mut read);
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_usize..400) {
            if let Some(column) = Column::parse(&bytes, count, 64) {
                let _ = column.read(0, &bytes, &mut PageScratch::default(), &mut Vec::new());
            }
        }
    }
}
