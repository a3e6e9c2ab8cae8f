//! Quantities of the Kubernetes API, such as `100m` and `64Mi`.

/// Parses a quantity into thousandths of its unit, rounding up, as the API server does.
/// `None` when it is no quantity or does not fit.
#[must_use]
pub fn parse_milli(text: &str) -> Option<i128> {
    let (number, suffix) = split(text)?;
    let (numerator, denominator) = scale(suffix)?;
    let (mantissa, decimals) = decimal(number)?;
    let divisor = 10_i128.checked_pow(decimals)?.checked_mul(denominator)?;
    let scaled = mantissa.checked_mul(numerator)?.checked_mul(1000)?;
    Some(scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0))
}

/// Parses a quantity into whole units, rounding up.
#[must_use]
pub fn parse_units(text: &str) -> Option<i64> {
    let milli = parse_milli(text)?;
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0)).ok()
}

fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    text.split_at_checked(end)
}

fn decimal(number: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.trim_start_matches(['+', '-']).is_empty() && fraction.is_empty() {
        return None;
    }
    if fraction.len() > 12 || whole.len() > 20 || fraction.contains(['.', '+', '-']) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    Some((digits.parse().ok()?, u32::try_from(fraction.len()).ok()?))
}

fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let thousands = |power: u32| Some((1000_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => thousands(1),
        "M" => thousands(2),
        "G" => thousands(3),
        "T" => thousands(4),
        "P" => thousands(5),
        "E" => thousands(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => exponent(suffix),
    }
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, factor) } else { (factor, 1) })
}

/// Formats thousandths of a CPU: `2`, `1500m`.
#[must_use]
pub fn format_cpu(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// Formats bytes in `Ki` where they are whole, as kubelet reports memory.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    if bytes != 0 && bytes.is_multiple_of(1024) { format!("{}Ki", bytes / 1024) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, expect) in [
            ("100m", Some(100)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("64Mi", Some(67_108_864_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("1n", Some(1)),
            ("", None),
            ("m", None),
            ("1.2.3", None),
            ("1Zi", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(parse_milli(text), expect, "{text}");
        }
        assert_eq!(parse_units("1500m"), Some(2));
        assert_eq!(parse_units("64Mi"), Some(67_108_864));
    }

    #[test]
    fn capacities_are_written_as_kubelet_writes_them() {
        assert_eq!(format_cpu(2000), "2");
        assert_eq!(format_cpu(1500), "1500m");
        assert_eq!(format_bytes(25_276_518_400), "24684100Ki");
        assert_eq!(format_bytes(1025), "1025");
    }
}
