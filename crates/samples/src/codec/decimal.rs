//! Whole numbers and decimals of at most six places, as integers.
//!
//! Layout: scale, order and shift (a byte each), exceptions, then the residuals. Order 0 is the distance from
//! the least value, 1 the difference from the predecessor, 2 the difference of differences. Low bits that are
//! zero in every residual (sizes in pages, sectors, KiB) are shifted away.
//!
//! A column that is read in pieces has, for each piece but the first, what the sums had come to before it.

pub(super) mod pages;

use super::packed;
use crate::bytes::{Cursor, put_varint, unzigzag, zigzag};

/// Powers of ten that a column may be multiplied by. Dividing by them again gives the nearest `f64`, which is
/// what a program that printed or computed a decimal had.
const SCALES: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Up to here every whole number is an `f64`, and no difference of differences overflows an `i64`.
const MANTISSA_MAX: f64 = 9_007_199_254_740_992.0;
/// One value in so many may be an exception; beyond that the column is no decimal column.
const VALUES_PER_EXCEPTION: usize = 8;

/// Working memory of [`encode`].
#[derive(Default)]
pub(super) struct Scratch {
    mantissas: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
    residuals: Vec<i64>,
}

/// Appends `values` in this form, or says `false` (having written rubbish) if too many have no exact form.
pub(super) fn encode(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
    let Some(order) = encode_head(values, scratch, out) else {
        return false;
    };
    for short in &scratch.residuals {
        put_varint(out, if order == 0 { *short as u64 } else { zigzag(*short) });
    }
    true
}

/// As [`encode`], with the residuals as in [`packed`].
#[cfg(test)]
pub(super) fn encode_packed(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
    if encode_head(values, scratch, out).is_none() {
        return false;
    }
    let packed = packed::residuals(&scratch.residuals);
    packed.is_some_and(|bytes| {
        out.extend_from_slice(&bytes);
        true
    })
}

/// Writes everything but the residuals, which are left in `scratch`; returns the order of differences.
fn encode_head(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<u8> {
    let exceptions_max = (values.len() / VALUES_PER_EXCEPTION).max(1);
    let scale = find_scale(values, exceptions_max)?;
    let Scratch {
        mantissas,
        exceptions,
        residuals,
    } = scratch;
    mantissas.clear();
    exceptions.clear();
    let mut previous = values.iter().find_map(|value| exact(*value, scale)).unwrap_or(0);
    for (index, value) in values.iter().enumerate() {
        if let Some(mantissa) = exact(*value, scale) {
            previous = mantissa;
        } else {
            exceptions.push((index, value.to_bits()));
        }
        // An exception repeats its predecessor here, which costs next to nothing.
        mantissas.push(previous);
    }
    if exceptions_max < exceptions.len() {
        return None;
    }
    let order = cheapest_order(mantissas);
    let head = fill_residuals(mantissas, order, residuals);
    let shift = residuals
        .iter()
        .fold(0, |all, residual| all | residual)
        .trailing_zeros()
        % 64;
    residuals.iter_mut().for_each(|residual| *residual >>= shift);
    out.extend_from_slice(&[scale as u8, order, shift as u8]);
    put_exceptions(exceptions, out);
    for value in head.iter().take(usize::from(order.max(1))) {
        put_varint(out, zigzag(*value));
    }
    Some(order)
}

/// Reads `count` values.
pub(super) fn decode(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<f64>> {
    let head = Head::read(cursor, count)?;
    let is_plain = head.order == 0;
    head.values(count, || {
        let number = cursor.varint()?;
        Some(if is_plain { number as i64 } else { unzigzag(number) })
    })
}

/// Reads `count` values whose residuals are packed.
pub(super) fn decode_packed(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<f64>> {
    let head = Head::read(cursor, count)?;
    let mut residuals = packed::decode::<i64>(cursor, head.residual_count(count)?)?.into_iter();
    head.values(count, || residuals.next())
}

/// Everything but the residuals.
#[derive(Debug)]
struct Head {
    scale: f64,
    order: u8,
    shift: u32,
    exceptions: Vec<(usize, u64)>,
    /// The base, or the first value and the first difference.
    first: i64,
    step: i64,
}

impl Head {
    fn read(cursor: &mut Cursor<'_>, count: usize) -> Option<Self> {
        let scale = *SCALES.get(usize::from(cursor.byte()?))?;
        let order = cursor.byte()?;
        let shift = u32::from(cursor.byte()?);
        if 2 < order || 63 < shift {
            return None;
        }
        Some(Self {
            scale,
            order,
            shift,
            exceptions: read_exceptions(cursor, count)?,
            first: cursor.signed()?,
            step: if order == 2 { cursor.signed()? } else { 0 },
        })
    }

    /// How many residuals there are for `count` values.
    fn residual_count(&self, count: usize) -> Option<usize> {
        count.checked_sub(usize::from(self.order))
    }

    fn values(self, count: usize, mut next: impl FnMut() -> Option<i64>) -> Option<Vec<f64>> {
        let Self {
            scale,
            order,
            shift,
            mut step,
            ..
        } = self;
        let residuals = self.residual_count(count)?;
        let mut mantissa = self.first;
        let mut values = Vec::with_capacity(count);
        if order == 0 {
            for _ in 0..residuals {
                values.push(mantissa.wrapping_add(next()? << shift) as f64 / scale);
            }
        } else {
            values.push(mantissa as f64 / scale);
            if order == 2 {
                mantissa = mantissa.wrapping_add(step);
                values.push(mantissa as f64 / scale);
            }
            for _ in 0..residuals {
                let residual = next()? << shift;
                step = if order == 2 {
                    step.wrapping_add(residual)
                } else {
                    residual
                };
                mantissa = mantissa.wrapping_add(step);
                values.push(mantissa as f64 / scale);
            }
        }
        for (index, bits) in self.exceptions {
            *values.get_mut(index)? = f64::from_bits(bits);
        }
        Some(values)
    }
}

/// `value` times the power of ten as an integer, if dividing that again gives the very same bits.
pub(super) fn exact(value: f64, scale: usize) -> Option<i64> {
    let mantissa = (value * SCALES[scale]).round();
    if mantissa.is_nan() || MANTISSA_MAX < mantissa.abs() {
        return None;
    }
    let whole = mantissa as i64;
    (whole as f64 / SCALES[scale])
        .to_bits()
        .eq(&value.to_bits())
        .then_some(whole)
}

/// The least scale at which all values but a few are exact.
fn find_scale(values: &[f64], exceptions_max: usize) -> Option<usize> {
    let mut scale = 0;
    let mut misfits = 0;
    for value in values {
        if exact(*value, scale).is_some() {
            continue;
        }
        match (scale + 1..SCALES.len()).find(|wider| exact(*value, *wider).is_some()) {
            Some(wider) => scale = wider,
            None if misfits == exceptions_max => return None,
            None => misfits += 1,
        }
    }
    (misfits < values.len()).then_some(scale)
}

/// The order of differences whose residuals have the fewest bits in sum.
fn cheapest_order(mantissas: &[i64]) -> u8 {
    let bits = |residual: u64| u64::from(64 - residual.leading_zeros());
    let least = mantissas.iter().copied().min().unwrap_or(0);
    let mut costs = [0_u64; 3];
    let (mut previous, mut step) = (mantissas[0], 0);
    for mantissa in mantissas {
        let difference = mantissa - previous;
        costs[0] += bits((mantissa - least) as u64);
        costs[1] += bits(zigzag(difference));
        costs[2] += bits(zigzag(difference - step));
        (previous, step) = (*mantissa, difference);
    }
    let orders = if mantissas.len() < 3 { 2 } else { 3 };
    (0..orders)
        .min_by_key(|order| costs[usize::from(*order)])
        .unwrap_or(0)
}

/// Fills `residuals` and returns what stands before them: the base, or the first value and first difference.
fn fill_residuals(mantissas: &[i64], order: u8, residuals: &mut Vec<i64>) -> [i64; 2] {
    residuals.clear();
    let first = mantissas[0];
    match order {
        0 => {
            let least = mantissas.iter().copied().min().unwrap_or(0);
            residuals.extend(mantissas.iter().map(|mantissa| mantissa - least));
            [least, 0]
        }
        1 => {
            residuals.extend(mantissas.windows(2).map(|pair| pair[1] - pair[0]));
            [first, 0]
        }
        _ => {
            residuals.extend(
                mantissas
                    .windows(3)
                    .map(|three| three[2] - 2 * three[1] + three[0]),
            );
            [first, mantissas[1] - first]
        }
    }
}

fn put_exceptions(exceptions: &[(usize, u64)], out: &mut Vec<u8>) {
    put_varint(out, exceptions.len() as u64);
    let mut previous = 0;
    for (index, bits) in exceptions {
        put_varint(out, (index - previous) as u64);
        out.extend_from_slice(&bits.to_le_bytes());
        previous = *index;
    }
}

fn read_exceptions(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<(usize, u64)>> {
    let length = cursor.length()?;
    if count < length {
        return None;
    }
    let mut exceptions = Vec::with_capacity(length);
    let mut index = 0_usize;
    for _ in 0..length {
        index = index.checked_add(cursor.length()?)?;
        exceptions.push((index, cursor.u64()?));
    }
    Some(exceptions)
}
