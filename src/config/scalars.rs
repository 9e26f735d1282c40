//! Durations, sizes, ranges and addresses as operators write them.

use std::time::Duration;

use crate::config::HostPort;

/// `2s`, `200ms`, `10m`, `1h`; a whole number and a unit.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text)?;
    let milliseconds_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" => return Err("has no unit (ms, s, m or h)".to_owned()),
        other => return Err(format!("has the unit {other:?}, which is none of ms, s, m, h")),
    };
    number
        .checked_mul(milliseconds_per_unit)
        .map(Duration::from_millis)
        .ok_or_else(|| "is too long".to_owned())
}

/// As [`parse_duration`] reads it, in the largest unit that divides it.
#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "units are not zero")
)]
pub(super) fn write_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds >= size && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

/// `64MiB`, `512KiB`, `1GiB`, `1000B` or `1000`, in bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text)?;
    let bytes_per_unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => {
            return Err(format!(
                "has the unit {other:?}, which is none of KiB, MiB, GiB (powers of 1024)"
            ));
        }
    };
    number
        .checked_mul(bytes_per_unit)
        .ok_or_else(|| "is too large".to_owned())
}

/// As [`parse_size`] reads it, in the largest unit that divides it.
#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "units are not zero")
)]
pub(super) fn write_size(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("\"{}{unit}\"", bytes / size);
        }
    }
    bytes.to_string()
}

fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let number = number
        .parse()
        .map_err(|_| "does not start with a whole number".to_owned())?;
    Ok((number, unit.trim()))
}

/// `0-5,9` in the order in which it is written; `max` is the largest number, `length_max` how many may come out.
pub(super) fn parse_ranges(text: &str, max: u32, length_max: usize) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let number = |text: &str| {
            text.trim()
                .parse::<u32>()
                .ok()
                .filter(|number| *number <= max)
                .ok_or_else(|| format!("has {:?}, which is not a number from 0 to {max}", text.trim()))
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => number(part).map(|number| (number, number))?,
        };
        let length = last
            .checked_sub(first)
            .ok_or_else(|| format!("has the range {part}, which runs backwards"))?;
        if usize::try_from(length).map_or(true, |length| length >= length_max.saturating_sub(numbers.len())) {
            return Err(format!("has more than {length_max} entries"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

/// `kafka-1:9092`, `10.0.0.1:9092`, `[::1]:9092`.
pub(super) fn parse_host_port(text: &str) -> Result<HostPort, String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| "has no port".to_owned())?;
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => {
            return Err(format!(
                "has {port:?} as its port, which is not a number from 1 to 65535"
            ));
        }
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(address) => {
            return Err(format!(
                "has {address:?} in brackets, which is not an IPv6 address"
            ));
        }
        None => check_host(host)?,
    };
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// A name (RFC 1123, and `_`, which container networks use) or an IP address without brackets and port.
pub(super) fn check_host(host: &str) -> Result<&str, String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(host);
    }
    let label_is_name = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        Err("has no host".to_owned())
    } else if name.len() > 253 || !name.split('.').all(label_is_name) {
        Err(format!(
            "has {host:?} as its host, which is neither a name nor an IP address (IPv6 in brackets before a port)"
        ))
    } else {
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("200 ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for bad in [
            "",
            "2",
            "s",
            "2d",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615h",
            "é",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1000"), Ok(1000));
        assert_eq!(parse_size("1 KiB"), Ok(1024));
        for bad in ["", "MiB", "64MB", "1.5MiB", "18446744073709551615GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_keep_their_order_and_their_bounds() {
        assert_eq!(parse_ranges("5,0-2", 10, 10), Ok(vec![5, 0, 1, 2]));
        assert_eq!(parse_ranges("0-3", 10, 4).map(|numbers| numbers.len()), Ok(4));
        assert_eq!(parse_ranges(" 1 - 2 , 3 ", 10, 4), Ok(vec![1, 2, 3]));
        for bad in ["0-4", "", "3-1", "11", "1,", "a", "-1", "0-2,3-4", "0-4294967295"] {
            assert!(parse_ranges(bad, 10, 4).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_and_ports() {
        let parsed = |text: &str| parse_host_port(text).map(|address| (address.host, address.port));
        assert_eq!(parsed("kafka-1:9092"), Ok(("kafka-1".to_owned(), 9092)));
        assert_eq!(parsed("[::1]:65535"), Ok(("::1".to_owned(), 65535)));
        assert_eq!(parsed("broker_1.net.:1"), Ok(("broker_1.net.".to_owned(), 1)));
        for bad in [
            "kafka",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "kafka:",
            "::1:9092x",
            "a b:1",
            "[x]:1",
            "-a:1",
            "http://k:1",
        ] {
            assert!(parse_host_port(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0u64..=u64::MAX / 1000, bytes: u64) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&write_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(write_size(bytes).trim_matches('"')), Ok(bytes));
        }

        #[test]
        fn addresses_read_back_as_they_are_shown(text in "[a-z0-9:.\\[\\]-]{0,20}") {
            if let Ok(address) = parse_host_port(&text) {
                prop_assert_eq!(parse_host_port(&address.to_string()), Ok(address));
            }
        }

        #[test]
        fn ranges_never_outgrow_their_bound(text in "[0-9, -]{0,24}") {
            if let Ok(numbers) = parse_ranges(&text, 65_535, 100) {
                prop_assert!(numbers.len() <= 100);
            }
        }
    }
}
