//! The formats of texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns whether a text has a format; unknown formats fit everything.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text),
        "duration" => is_duration(text),
        "email" => text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
        "hostname" => is_hostname(text),
        "mac" => {
            let parts: Vec<&str> = text.split([':', '-']).collect();
            parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && is_hex(part))
        }
        "uri" => text.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty() && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        }),
        _ => true,
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => bits <= 32,
        Ok(std::net::IpAddr::V6(_)) => bits <= 128,
        Err(_) => false,
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && is_hex(&text.replace('-', ""))
}

fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits =
            rest.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(0);
        let Some((number, after)) = rest.split_at_checked(digits) else { return false };
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"]
            .into_iter()
            .filter(|unit| after.starts_with(unit))
            .max_by_key(|unit| unit.len());
        let Some(unit) = unit.filter(|_| number.parse::<f64>().is_ok()) else { return false };
        rest = after.strip_prefix(unit).unwrap_or_default();
        parts += 1;
    }
    parts > 0
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_formats() {
        fn check(format: &str, good: &[&str], bad: &[&str]) {
            for text in good {
                assert!(fits(format, text), "{format}: {text}");
            }
            for text in bad {
                assert!(!fits(format, text), "{format}: {text}");
            }
        }
        check("date-time", &["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+01:00"], &["2026-01-02", "x"]);
        check("date", &["2026-01-02"], &["2026-13-02", "2026-01-02T03:04:05Z"]);
        check("byte", &["YQ==", ""], &["%"]);
        check("ipv4", &["1.2.3.4"], &["::1", "1.2.3"]);
        check("ipv6", &["::1"], &["1.2.3.4"]);
        check("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33"]);
        check("uuid", &["123e4567-e89b-12d3-a456-426614174000"], &["123e4567"]);
        check("duration", &["1h30m", "1.5s", "0", "100ms", "2d"], &["", "1", "h", "1x"]);
        check("email", &["a@b"], &["a", "@b"]);
        check("hostname", &["a.b-c"], &["-a", "a..b"]);
        check("mac", &["00:11:22:33:44:55"], &["00:11", "00:11:22:33:44:5g"]);
        check("uri", &["http://a", "mailto:x"], &["a", ":x"]);
        check("made-up", &["anything"], &[]);
    }
}
