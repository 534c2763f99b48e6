//! Counts HTTP/2 frames that carry nothing, as they come in (RFC 9113 section 4.1: a head of nine bytes, of which the
//! first three are the length of what follows and the fourth is the type).
//!
//! Such frames are cheap to send and not to answer: resets, settings, pings, empty data, continuations. A peer that
//! means well sends a few a second.

use tokio::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// Frames that carry nothing which may come at once.
const BURST: f64 = 1_000.0;
/// And those which may come in a second after that.
const PER_S: f64 = 200.0;
/// Data frames below this length count as empty.
const DATA_BYTES_MIN: usize = 16;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;

#[derive(Debug)]
enum Place {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// In the head of a frame.
    Head([u8; HEAD_BYTES], usize),
    /// So many bytes of the frame are still to come.
    Payload(usize),
    /// It is HTTP/1, whose requests are counted elsewhere.
    Other,
}

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Meter {
    place: Place,
    left: f64,
    filled: Instant,
}

impl Meter {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            place: Place::Preface(0),
            left: BURST,
            filled: now,
        }
    }

    /// Takes bytes that came in. `false` if the peer floods.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Other => return true,
                Place::Preface(seen) => {
                    let wanted = &PREFACE[*seen..];
                    let count = wanted.len().min(bytes.len());
                    if bytes[..count] != wanted[..count] {
                        self.place = Place::Other;
                        return true;
                    }
                    bytes = &bytes[count..];
                    *seen += count;
                    if *seen == PREFACE.len() {
                        self.place = Place::Head([0; HEAD_BYTES], 0);
                    }
                }
                Place::Head(head, seen) => {
                    let count = (HEAD_BYTES - *seen).min(bytes.len());
                    head[*seen..*seen + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    *seen += count;
                    if *seen == HEAD_BYTES {
                        let length =
                            usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                        let cost = cost(head[3], length);
                        self.place = Place::Payload(length);
                        if !self.pay(cost, now) {
                            return false;
                        }
                    }
                }
                Place::Payload(left) => {
                    let count = (*left).min(bytes.len());
                    bytes = &bytes[count..];
                    *left -= count;
                }
            }
            if matches!(self.place, Place::Payload(0)) {
                self.place = Place::Head([0; HEAD_BYTES], 0);
            }
        }
        true
    }

    fn pay(&mut self, cost: f64, now: Instant) -> bool {
        if cost <= 0.0 {
            return true;
        }
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = passed.mul_add(PER_S, self.left).min(BURST) - cost;
        0.0 <= self.left
    }
}

fn cost(frame_type: u8, length: usize) -> f64 {
    match frame_type {
        DATA if DATA_BYTES_MIN <= length => 0.0,
        // A request; how many of them may be open is bounded, and how soon they may be reset is counted below.
        HEADERS => 0.0,
        // Whoever reads a long answer sends many.
        WINDOW_UPDATE => 0.1,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(frame_type: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([frame_type, 0, 0, 0, 0, 1]);
        frame.resize(HEAD_BYTES + length, 0);
        frame
    }

    fn opened(now: Instant) -> Meter {
        let mut meter = Meter::new(now);
        assert!(meter.take(PREFACE, now));
        meter
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_beyond_the_burst() {
        let now = Instant::now();
        for frame_type in [0, 2, 3, 4, 6, 9, 77] {
            let mut meter = opened(now);
            let taken = (0..5_000)
                .take_while(|_| meter.take(&frame(frame_type, 0), now))
                .count();
            assert_eq!(taken, BURST as usize, "type {frame_type}");
        }
    }

    #[test]
    fn data_is_no_flood_however_it_is_cut() {
        let now = Instant::now();
        let mut meter = opened(now);
        let bytes: Vec<u8> = (0..20_000).flat_map(|n| frame(DATA, 16 + n % 50)).collect();
        for piece in bytes.chunks(7) {
            assert!(meter.take(piece, now));
        }
    }

    #[test]
    fn a_slow_trickle_is_no_flood() {
        let mut now = Instant::now();
        let mut meter = opened(now);
        for _ in 0..20_000 {
            now += Duration::from_millis(6);
            assert!(meter.take(&frame(6, 8), now));
        }
    }

    #[test]
    fn another_protocol_is_not_measured() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        assert!(meter.take(b"GET / HTTP/1.1\r\n", now));
        assert!(meter.take(&[0; 100_000], now));
    }
}
