//! Amounts such as `100m`, `1.5Gi` and `2e3`, in the one form that servers keep.

/// How an amount is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// An amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    /// In billionths.
    nano: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;
/// Decimal suffixes from 10^-9 to 10^18.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Binary suffixes from 2^0 to 2^60.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Reads an amount.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text
            .find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(end)?;
        let (form, numerator, denominator) = scale(suffix)?;
        let (negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || all.len() > 30 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mantissa: i128 = all.parse().ok()?;
        let places = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let product = mantissa.checked_mul(numerator)?.checked_mul(NANO)?;
        let divisor = places.checked_mul(denominator)?;
        let rounded_up = product.div_euclid(divisor) + i128::from(product.rem_euclid(divisor) != 0);
        Some(Self { nano: if negative { -rounded_up } else { rounded_up }, form })
    }

    /// Returns the amount in billionths.
    pub(crate) fn nano(self) -> i128 {
        self.nano
    }

    /// Writes the amount in its one form.
    pub(crate) fn canonical(self) -> String {
        if self.nano == 0 {
            return "0".to_owned();
        }
        let whole = self.nano % NANO == 0;
        let large = self.nano.abs() >= 1024 * NANO;
        if self.form == Form::Binary && large && whole {
            let mut value = self.nano / NANO;
            let mut suffix = 0;
            while value % 1024 == 0 && suffix + 1 < BINARY.len() {
                value /= 1024;
                suffix += 1;
            }
            return format!("{value}{}", BINARY[suffix]);
        }
        let mut value = self.nano;
        let mut suffix = 0;
        while value % 1000 == 0 && suffix + 1 < DECIMAL.len() {
            value /= 1000;
            suffix += 1;
        }
        if self.form != Form::Exponent {
            return format!("{value}{}", DECIMAL[suffix]);
        }
        match i32::try_from(suffix).unwrap_or(0) * 3 - 9 {
            0 => value.to_string(),
            exponent => format!("{value}e{exponent}"),
        }
    }
}

/// Returns a suffix's form and factor as a fraction.
fn scale(suffix: &str) -> Option<(Form, i128, i128)> {
    if let Some(power) = DECIMAL.iter().position(|known| *known == suffix) {
        let power = u32::try_from(power).ok()?;
        return Some(if power < 3 {
            (Form::Decimal, 1, 10i128.pow(9 - 3 * power))
        } else {
            (Form::Decimal, 10i128.pow(3 * power - 9), 1)
        });
    }
    if let Some(power) = BINARY.iter().position(|known| *known == suffix) {
        return Some((Form::Binary, 1024i128.pow(u32::try_from(power).ok()?), 1));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (Form::Exponent, 1, factor) } else { (Form::Exponent, factor, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_kept_in_one_form() {
        fn check(text: &str, expected: &str) {
            assert_eq!(Quantity::parse(text).map(Quantity::canonical).as_deref(), Some(expected), "{text}");
        }
        check("100m", "100m");
        check("0.5", "500m");
        check("1", "1");
        check("1000m", "1");
        check("1000", "1k");
        check("1024Mi", "1Gi");
        check("1.5Gi", "1536Mi");
        check("0.5Ki", "512");
        check("512Mi", "512Mi");
        check("100Ki", "100Ki");
        check("2e3", "2e3");
        check("1E", "1E");
        check("1.5e1", "15");
        check("0", "0");
        check("0Mi", "0");
        check("-1500m", "-1500m");
        check("+1", "1");
        check("0.0000000001", "1n");
        check(".5", "500m");
        check("5.", "5");
    }

    #[test]
    fn nonsense_is_no_amount() {
        for text in ["", "lots", "1x", "1.2.3", "--1", "1Kii", "Mi", ".", "e5", "1e", "1ee5", "9e99"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }
}
