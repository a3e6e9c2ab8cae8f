//! What a twin may be named and hold. The texts are KubeEdge's: clients may look for them.

use protocol::device::payload::{TwinValue, Twins};

pub(crate) const UNREADABLE: &str = "Unmarshal update request body failed, please check the request";
pub(crate) const NO_TWIN: &str = "Update twin error, key:twin does not exist";
pub(crate) const BAD_KEY: &str = "The key of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the length of key should be less than 128 bytes";
pub(crate) const BAD_VALUE: &str = "The value of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the length of value should be less than 512 bytes";
/// KubeEdge answers every unreadable synchronization with this.
pub(crate) const UNREADABLE_SYNC: &str = "unmarshal update request body failed, Please check the request";
pub(crate) const WRONG_BODY: &str = "the request body is wrong";
pub(crate) const NO_DEVICE: &str = "update rejected due to the device is not existed";

/// The type of a twin that was taken away.
pub(crate) const DELETED: &str = "deleted";
/// The types that a twin can have.
pub(crate) const KINDS: [&str; 5] = [STRING, "int", "integer", "float", "boolean"];
/// The type of a twin that does not say one.
pub(crate) const STRING: &str = "string";

pub(crate) const KEY_BYTES_MAX: usize = 128;
pub(crate) const VALUE_BYTES_MAX: usize = 512;

/// Checks the names and values of all twins of a request.
pub(crate) fn check(twins: &Twins) -> Result<(), &'static str> {
    for (name, twin) in twins {
        if !is_word(name, KEY_BYTES_MAX) {
            return Err(BAD_KEY);
        }
        let halves = twin.iter().flat_map(|twin| [&twin.expected, &twin.actual]).flatten();
        for value in halves.filter_map(|half| half.value.as_deref()) {
            if !value.is_empty() && !is_word(value, VALUE_BYTES_MAX) {
                return Err(BAD_VALUE);
            }
        }
    }
    Ok(())
}

pub(crate) fn is_word(text: &str, bytes_max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/@#".contains(&byte);
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(fits)
}

/// Checks a value against its twin's type.
pub(crate) fn check_type(kind: &str, value: &str) -> Result<(), &'static str> {
    let is_right = match kind {
        "" | STRING | DELETED => true,
        "int" | "integer" => {
            return value.parse::<i64>().map(drop).or(Err("the value is not int or integer"));
        }
        "float" => return if is_float(value) { Ok(()) } else { Err("the value is not float") },
        "boolean" if matches!(value, "true" | "false") => true,
        "boolean" => return Err("the bool value must be true or false"),
        _ => false,
    };
    if is_right { Ok(()) } else { Err("the value type is not allowed") }
}

/// A number beyond all is none, as in Go; infinity itself is one.
fn is_float(value: &str) -> bool {
    value
        .parse::<f64>()
        .is_ok_and(|number| number.is_finite() || !value.contains(|c: char| c.is_ascii_digit()))
}

/// Returns the value of one half of a twin, which must have one if it is there.
pub(crate) fn value_of(half: Option<&TwinValue>) -> Result<Option<&str>, &'static str> {
    match half {
        None => Ok(None),
        Some(half) => half.value.as_deref().map(Some).ok_or(WRONG_BODY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_must_be_of_its_type() {
        let int = Err("the value is not int or integer");
        let float = Err("the value is not float");
        let boolean = Err("the bool value must be true or false");
        let unknown = Err("the value type is not allowed");
        for (kind, value, expect) in [
            ("", "x", Ok(())),
            ("string", "x", Ok(())),
            ("deleted", "x", Ok(())),
            ("int", "-5", Ok(())),
            ("integer", "9223372036854775807", Ok(())),
            ("int", "9223372036854775808", int),
            ("int", "1.5", int),
            ("int", "", int),
            ("integer", "0x10", int),
            ("float", "-1.5", Ok(())),
            ("float", "1e5", Ok(())),
            ("float", ".5", Ok(())),
            ("float", "NaN", Ok(())),
            ("float", "-Inf", Ok(())),
            ("float", "1e400", float),
            ("float", "", float),
            ("float", "1,5", float),
            ("boolean", "true", Ok(())),
            ("boolean", "True", boolean),
            ("boolean", "", boolean),
            ("double", "1", unknown),
            ("bytes", "1", unknown),
            ("bool", "true", unknown),
            ("INT", "1", unknown),
        ] {
            assert_eq!(check_type(kind, value), expect, "{kind} {value:?}");
        }
    }

    #[test]
    fn a_key_and_a_value_are_of_these_letters_and_no_longer_than_this() {
        let check = |key: &str, value: &str| {
            let twin = protocol::device::payload::Twin {
                actual: Some(TwinValue { value: Some(value.to_owned()), metadata: None }),
                ..Default::default()
            };
            super::check(&Twins::from([(key.to_owned(), Some(twin))]))
        };
        assert_eq!(check("a-Z_0.,:/@#", "a-Z_0.,:/@#"), Ok(()));
        assert_eq!(check("a", ""), Ok(()));
        assert_eq!(check(&"k".repeat(128), &"v".repeat(512)), Ok(()));
        for key in ["", "a b", "a+", "\u{e4}", "a\n", &"k".repeat(129)] {
            assert_eq!(check(key, "1"), Err(BAD_KEY), "{key:?}");
        }
        for value in ["a b", "{}", "\"", "1e+5", "a=", "5%", "\u{b0}C", "a\n", &"v".repeat(513)] {
            assert_eq!(check("a", value), Err(BAD_VALUE), "{value:?}");
        }
        assert_eq!(super::check(&Twins::from([("a b".to_owned(), None)])), Err(BAD_KEY));
    }
}
