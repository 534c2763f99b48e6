//! A report's message made small for keeping, and back again byte by byte.
//!
//! Samples are most of a message and compress badly as doubles in the order of their times. So each block's values
//! are taken out, turned to columns of one series each, and written as differences: of integers where a column is a
//! decimal with up to four places, as most readings are, and of bits where it is not. What is left of the message and
//! those columns are then compressed by zstd. A message that is none of ours is only compressed.
//!
//! Nothing here judges what a message says, and unpacking gives exactly the bytes that were packed.

use std::io;
use std::ops::Range;

use crate::packing;

/// The third level makes 1.24 bytes of a sample where this makes 1.28, and takes twice the memory.
const ZSTD_LEVEL: i32 = 1;
/// Decimal places that are tried.
const PLACES_MAX: u8 = 4;
/// Ten to the power of each of them.
const POWERS: [f64; PLACES_MAX as usize + 1] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
/// Marks a column that is no decimal.
const BITS: u8 = 0xff;
/// Set in a column's form if differences of differences are shorter.
const TWICE: u8 = 0x80;
/// Whole numbers up to here are exact as doubles.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Fields of the messages: `AgentMessage.report`, `Report.blocks`, and those of a `SampleBlock`.
const REPORT: u64 = 1;
const BLOCKS: u64 = 9;
const TIMES: u64 = 1;
const SERIES: u64 = 2;
const VALUES: u64 = 3;

/// Values of one block within a message: `rows` times with `columns` doubles each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values {
    offset: usize,
    rows: usize,
    columns: usize,
}

impl Values {
    fn bytes(self) -> Option<usize> {
        self.rows.checked_mul(self.columns)?.checked_mul(8)
    }
}

/// Packs a message.
///
/// # Errors
/// If zstd fails.
pub fn pack(message: &[u8]) -> io::Result<Vec<u8>> {
    let blocks = find(message).unwrap_or_default();
    let mut plain = Vec::with_capacity(message.len());
    put(&mut plain, blocks.len() as u64);
    for block in &blocks {
        for number in [block.offset, block.rows, block.columns] {
            put(&mut plain, number as u64);
        }
    }
    let mut from = 0;
    for block in &blocks {
        plain.extend_from_slice(&message[from..block.offset]);
        from = block.offset + block.bytes().unwrap_or(0);
    }
    plain.extend_from_slice(&message[from..]);
    for block in &blocks {
        pack_values(message, *block, &mut plain);
    }
    packing::compress(&plain, ZSTD_LEVEL)
}

/// Unpacks what [`pack`] made of a message of `message_bytes`. `None` if it is anything else.
#[must_use]
pub fn unpack(packed: &[u8], message_bytes: usize) -> Option<Vec<u8>> {
    // A double becomes at most ten bytes, and a block's head and a column's form are a few more.
    let plain_max = message_bytes.checked_mul(2)?.checked_add(1024)?;
    let plain = packing::decompress(packed, plain_max).ok()?;
    let mut reader = Reader { bytes: &plain };
    let count = usize::try_from(reader.number()?).ok()?;
    let (mut blocks, mut values_bytes) = (Vec::new(), 0_usize);
    for _ in 0..count {
        let mut next = || usize::try_from(reader.number()?).ok();
        let block = Values {
            offset: next()?,
            rows: next()?,
            columns: next()?,
        };
        values_bytes = values_bytes.checked_add(block.bytes()?)?;
        if message_bytes < values_bytes {
            return None;
        }
        blocks.push(block);
    }
    let mut rest = reader.take(message_bytes - values_bytes)?;
    let mut message = Vec::with_capacity(message_bytes);
    for block in blocks {
        let before = block.offset.checked_sub(message.len())?;
        let (head, tail) = rest.split_at_checked(before)?;
        message.extend_from_slice(head);
        rest = tail;
        unpack_values(&mut reader, block, &mut message)?;
    }
    message.extend_from_slice(rest);
    (message.len() == message_bytes && reader.bytes.is_empty()).then_some(message)
}

fn pack_values(message: &[u8], block: Values, plain: &mut Vec<u8>) {
    let values = &message[block.offset..][..block.bytes().unwrap_or(0)];
    let mut column = Column::default();
    let (mut forms, mut firsts, mut differences) =
        (Vec::with_capacity(block.columns), Vec::new(), Vec::new());
    for index in 0..block.columns {
        let rows = values.chunks_exact(8 * block.columns);
        let bits = rows.map(|row| u64::from_le_bytes(row[8 * index..][..8].try_into().expect("eight bytes")));
        let form = column.read(bits);
        forms.push(form);
        for (row, &number) in column.numbers.iter().enumerate() {
            let to = if row == 0 { &mut firsts } else { &mut differences };
            if form == BITS {
                to.extend_from_slice(&number.to_be_bytes());
            } else {
                put(to, number);
            }
        }
    }
    // Likes stand together: forms with forms, first values with first values.
    plain.extend(forms);
    plain.extend(firsts);
    plain.extend(differences);
}

fn unpack_values(reader: &mut Reader<'_>, block: Values, message: &mut Vec<u8>) -> Option<()> {
    let forms = reader.take(block.columns)?;
    let mut columns = Vec::with_capacity(block.columns);
    if block.rows == 0 {
        return Some(());
    }
    for &form in forms {
        columns.push(vec![reader.of(form)?]);
    }
    for (&form, column) in forms.iter().zip(&mut columns) {
        for _ in 1..block.rows {
            column.push(reader.of(form)?);
        }
    }
    for (&form, column) in forms.iter().zip(&mut columns) {
        restore(form, column)?;
    }
    for row in 0..block.rows {
        for column in &columns {
            message.extend_from_slice(&column[row].to_le_bytes());
        }
    }
    Some(())
}

/// One column after another, in memory that is used again: a report of one tick has as many columns as series.
#[derive(Debug, Default)]
struct Column {
    bits: Vec<u64>,
    integers: Vec<i64>,
    /// What the column becomes in its form.
    numbers: Vec<u64>,
}

impl Column {
    /// Takes the bits of a column's values; the form it is written in.
    fn read(&mut self, bits: impl Iterator<Item = u64>) -> u8 {
        self.bits.clear();
        self.bits.extend(bits);
        self.numbers.clear();
        for places in 0..=PLACES_MAX {
            if self.take_integers(places) {
                return self.take_differences(places);
            }
        }
        let mut before = 0;
        let bits = self.bits.iter();
        self.numbers
            .extend(bits.map(|&value| std::mem::replace(&mut before, value) ^ value));
        BITS
    }

    /// The values as whole numbers of `10^-places`, if every one comes back from that bit by bit.
    fn take_integers(&mut self, places: u8) -> bool {
        self.integers.clear();
        for &bits in &self.bits {
            let Some(integer) = integer(bits, places) else {
                return false;
            };
            self.integers.push(integer);
        }
        true
    }

    /// Differences of the whole numbers, or of those differences if that is shorter.
    fn take_differences(&mut self, places: u8) -> u8 {
        let mut length = 0_usize;
        let (mut before, mut step_before, mut length_twice) = (0, 0, 0);
        for (index, &integer) in self.integers.iter().enumerate() {
            let step = zigzag(integer.wrapping_sub(std::mem::replace(&mut before, integer)));
            length += put_bytes(step);
            length_twice += put_bytes(twice(index, step, &mut step_before));
            self.numbers.push(step);
        }
        if length <= length_twice {
            return places;
        }
        let mut step_before = 0;
        for (index, step) in self.numbers.iter_mut().enumerate() {
            *step = twice(index, *step, &mut step_before);
        }
        places | TWICE
    }
}

/// The difference between one difference and the one before; the first value, which is its own difference, stays, and the
/// first difference after it has none before.
fn twice(index: usize, step: u64, step_before: &mut i64) -> u64 {
    if index == 0 {
        return step;
    }
    let step = unzigzag(step);
    zigzag(step.wrapping_sub(std::mem::replace(step_before, step)))
}

/// Turns what was read of a column back into the bits of its values.
fn restore(form: u8, column: &mut [u64]) -> Option<()> {
    if form == BITS {
        let mut value = 0;
        for number in column {
            value ^= *number;
            *number = value;
        }
        return Some(());
    }
    let places = form & !TWICE;
    if PLACES_MAX < places {
        return None;
    }
    let (mut value, mut step) = (0_i64, 0_i64);
    for (index, number) in column.iter_mut().enumerate() {
        let difference = unzigzag(*number);
        if form & TWICE == 0 || index == 0 {
            value = value.wrapping_add(difference);
        } else {
            step = step.wrapping_add(difference);
            value = value.wrapping_add(step);
        }
        *number = decimal(value, places).to_bits();
    }
    Some(())
}

/// The value as a whole number of `10^-places`, if it comes back from that bit by bit.
fn integer(bits: u64, places: u8) -> Option<i64> {
    let scaled = (f64::from_bits(bits) * POWERS[usize::from(places)]).round();
    if scaled.is_nan() || EXACT_MAX <= scaled.abs() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and in range, as was just asked"
    )]
    let integer = scaled as i64;
    (decimal(integer, places).to_bits() == bits).then_some(integer)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "where it loses something the column is kept as bits"
)]
fn decimal(integer: i64, places: u8) -> f64 {
    integer as f64 / POWERS[usize::from(places)]
}

/// Bytes that [`put`] writes.
const fn put_bytes(number: u64) -> usize {
    let bits = 64 - number.leading_zeros() as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The values of each block of a report's message. `None` if it is built in any other way.
fn find(message: &[u8]) -> Option<Vec<Values>> {
    let mut found = Vec::new();
    for (field, body) in fields(message, 0..message.len())? {
        if field != REPORT {
            continue;
        }
        for (field, body) in fields(message, body)? {
            if field == BLOCKS {
                found.extend(values(message, body)?);
            }
        }
    }
    Some(found)
}

fn values(message: &[u8], block: Range<usize>) -> Option<Option<Values>> {
    let (mut rows, mut columns, mut place) = (0, 0, None);
    for (field, body) in fields(message, block)? {
        // Every number ends with the only byte whose highest bit is clear.
        let count = message[body.clone()].iter().filter(|&&byte| byte < 0x80).count();
        match field {
            TIMES => rows += count,
            SERIES => columns += count,
            // One piece, as it is written; in several it stays where it is.
            VALUES if place.is_some() => return Some(None),
            VALUES => place = Some(body),
            _ => {}
        }
    }
    let Some(place) = place else { return Some(None) };
    let found = Values {
        offset: place.start,
        rows,
        columns,
    };
    Some((0 < rows && 0 < columns && found.bytes() == Some(place.len())).then_some(found))
}

/// Fields of a message that have a length, with where their content stands.
fn fields(message: &[u8], within: Range<usize>) -> Option<Vec<(u64, Range<usize>)>> {
    let mut reader = Reader {
        bytes: message.get(within.clone())?,
    };
    let mut found = Vec::new();
    while !reader.bytes.is_empty() {
        let tag = reader.number()?;
        match tag & 7 {
            0 => drop(reader.number()?),
            1 => drop(reader.take(8)?),
            2 => {
                let length = usize::try_from(reader.number()?).ok()?;
                let start = within.end - reader.bytes.len();
                reader.take(length)?;
                found.push((tag >> 3, start..start + length));
            }
            5 => drop(reader.take(4)?),
            _ => return None,
        }
    }
    Some(found)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn of(&mut self, form: u8) -> Option<u64> {
        if form == BITS {
            let bytes = self.take(8)?.try_into().expect("eight bytes");
            return Some(u64::from_be_bytes(bytes));
        }
        self.number()
    }
}

#[cfg(test)]
mod tests;
