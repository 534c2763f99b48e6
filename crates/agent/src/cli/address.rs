//! Where a controller is, as people type it.

/// Checks a `HOST:PORT`: a name, an IPv4 address or an IPv6 address in brackets, and a port. Names are looked up later.
///
/// # Errors
/// A sentence for whoever typed it.
pub fn parse(text: &str) -> Result<String, String> {
    let is_host = |host: &str| match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || ":/[]@".contains(c)),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(text.to_owned()),
        _ => Err("it must be HOST:PORT, such as controller.example:8481 or [fd00::1]:8481".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_needs_a_port_and_an_ipv6_address_brackets() {
        for good in ["c:8481", "127.0.0.1:1", "[::1]:8481", "a.example:65535"] {
            assert_eq!(parse(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "c",
            "127.0.0.1",
            "::1",
            "::1:8481",
            "[::1]",
            "c:0",
            "c:65536",
            ":8481",
            "https://c:8481",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
