//! Decimal columns in pages: each decodes alone, with what the sums had come to before it.

use pco::DecompressorScratch;

use super::{Head, Scratch, encode_head};
use crate::bytes::{Cursor, put_varint, zigzag};
use crate::codec::packed;

/// Appends what the pages have in common to `common` and returns them; `None` (having written rubbish) if the values
/// have no decimal form.
pub(in crate::codec) fn encode(
    values: &[f64],
    page_points: usize,
    scratch: &mut Scratch,
    common: &mut Vec<u8>,
) -> Option<Vec<Vec<u8>>> {
    let order = usize::from(encode_head(values, scratch, common)?);
    let mantissas = &scratch.mantissas;
    let (mut known, mut known_step) = (mantissas[0], 0);
    for start in (page_points..values.len()).step_by(page_points) {
        let before = mantissas[start - 1];
        if 1 <= order {
            put_varint(common, zigzag(before - known));
        }
        if order == 2 {
            let step = before - mantissas[start - 2];
            put_varint(common, zigzag(step - known_step));
            known_step = step;
        }
        known = before;
    }
    let mut counts: Vec<usize> = values.chunks(page_points).map(<[f64]>::len).collect();
    // The first values stand before the residuals.
    *counts.first_mut()? -= order;
    packed::residual_pages(&scratch.residuals, counts, common)
}

/// Reads pages of one column.
#[derive(Debug)]
pub(in crate::codec) struct Pages {
    head: Head,
    /// What the sums had come to before each page but the first: value and difference.
    sums: Vec<(i64, i64)>,
    residuals: packed::Pages<i64>,
}

impl Pages {
    /// Reads what the pages of `count` values have in common.
    pub(in crate::codec) fn parse(cursor: &mut Cursor<'_>, count: usize, page_points: usize) -> Option<Self> {
        let head = Head::read(cursor, count)?;
        let (mut value, mut step) = (head.first, 0_i64);
        let mut sums = Vec::new();
        for _ in 1..count.div_ceil(page_points) {
            if 1 <= head.order {
                value = value.wrapping_add(cursor.signed()?);
            }
            if head.order == 2 {
                step = step.wrapping_add(cursor.signed()?);
            }
            sums.push((value, step));
        }
        let residuals = packed::Pages::parse(cursor)?;
        Some(Self {
            head,
            sums,
            residuals,
        })
    }

    /// Appends the values of a page that begins at the point `start` and has `count`.
    pub(in crate::codec) fn read(
        &self,
        index: usize,
        start: usize,
        count: usize,
        bytes: &[u8],
        scratch: &mut PageScratch,
        values: &mut Vec<f64>,
    ) -> Option<()> {
        let Head {
            scale, order, shift, ..
        } = self.head;
        let PageScratch { pco, residuals } = scratch;
        residuals.clear();
        let begin = values.len();
        let mut mantissa;
        let mut step = 0;
        if index == 0 {
            mantissa = self.head.first;
            self.residuals
                .read(bytes, self.head.residual_count(count)?, pco, residuals)?;
            if 1 <= order {
                values.push(mantissa as f64 / scale);
            }
            if order == 2 {
                step = self.head.step;
                mantissa = mantissa.wrapping_add(step);
                values.push(mantissa as f64 / scale);
            }
        } else {
            (mantissa, step) = *self.sums.get(index - 1)?;
            self.residuals.read(bytes, count, pco, residuals)?;
        }
        sum_up(order, shift, mantissa, step, residuals);
        if scale == 1.0 {
            values.extend(residuals.iter().map(|mantissa| *mantissa as f64));
        } else {
            values.extend(residuals.iter().map(|mantissa| *mantissa as f64 / scale));
        }
        for (place, bits) in &self.head.exceptions {
            if let Some(place) = place.checked_sub(start).filter(|place| *place < count) {
                *values.get_mut(begin + place)? = f64::from_bits(*bits);
            }
        }
        Some(())
    }
}

/// Working memory that is used again for each page.
#[derive(Default)]
pub(in crate::codec) struct PageScratch {
    pub(in crate::codec) pco: DecompressorScratch,
    residuals: Vec<i64>,
}

/// From residuals to the numbers that they stand for.
fn sum_up(order: u8, shift: u32, mut mantissa: i64, mut step: i64, residuals: &mut [i64]) {
    match order {
        0 => residuals
            .iter_mut()
            .for_each(|residual| *residual = mantissa.wrapping_add(*residual << shift)),
        1 => {
            for residual in residuals {
                mantissa = mantissa.wrapping_add(*residual << shift);
                *residual = mantissa;
            }
        }
        _ => {
            for residual in residuals {
                step = step.wrapping_add(*residual << shift);
                mantissa = mantissa.wrapping_add(step);
                *residual = mantissa;
            }
        }
    }
}
