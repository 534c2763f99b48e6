//! `/proc/net/{tcp,tcp6,udp,udp6}`: a socket a line, below a heading.
//!
//! proc(5): `sl local_address rem_address st tx_queue:rx_queue …`, all hexadecimal. There can be very many lines, so
//! they are read one at a time and only summed.

/// States of TCP by the kernel's number (`net/tcp_states.h`), as `node_exporter` names them.
pub const TCP_STATES: [(u8, &str); 12] = [
    (1, "established"),
    (2, "syn_sent"),
    (3, "syn_recv"),
    (4, "fin_wait1"),
    (5, "fin_wait2"),
    (6, "time_wait"),
    (7, "close"),
    (8, "close_wait"),
    (9, "last_ack"),
    (10, "listen"),
    (11, "closing"),
    (12, "new_syn_recv"),
];

/// What is kept of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Socket {
    /// Its state, by the kernel's number.
    pub state: u8,
    /// Bytes not yet sent or not yet acknowledged.
    pub sending_bytes: u64,
    /// Bytes nobody has read yet; of a listening socket, connections nobody has accepted.
    pub received_bytes: u64,
}

/// Whether a line is the heading.
#[must_use]
pub fn is_heading(line: &str) -> bool {
    line.trim_start().starts_with("sl ")
}

/// Reads one line; `None` if it is none of a socket.
#[must_use]
pub fn parse_line(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let number = words.next()?.strip_suffix(':')?;
    number.parse::<u64>().ok()?;
    let state = words.nth(2)?;
    let (sending, received) = words.next()?.split_once(':')?;
    Some(Socket {
        state: u8::from_str_radix(state, 16).ok()?,
        sending_bytes: u64::from_str_radix(sending, 16).ok()?,
        received_bytes: u64::from_str_radix(received, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_queues_are_hexadecimal() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 0000001F:00000010 00:00000000 00000000     0        0 1 1";
        let socket = parse_line(line).unwrap();
        assert_eq!(
            (socket.state, socket.sending_bytes, socket.received_bytes),
            (10, 31, 16)
        );
        assert!(is_heading("  sl  local_address rem_address   st"));
        assert_eq!(parse_line("  0: 0100007F:1F90 00000000:0000"), None);
        assert_eq!(
            parse_line("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
    }
}
