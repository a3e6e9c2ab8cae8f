//! Topic names and filters, as MQTT 3.1.1 defines them.

/// The longest text that MQTT carries, in bytes.
const BYTES_MAX: usize = 65_535;

/// Tells whether a message can be published to this topic.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    is_text(text) && !text.contains(['+', '#'])
}

/// Tells whether this can be subscribed to.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    let mut are_valid = true;
    while let Some(level) = levels.next() {
        are_valid &= match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            level => !level.contains(['+', '#']),
        };
    }
    is_text(text) && are_valid
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= BYTES_MAX && !text.contains('\0')
}

/// Tells whether a subscription gets what is published to a topic. A filter that begins with a wildcard
/// gets nothing of topics that begin with `$`.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(filter), Some(level)) if filter == "+" || filter == level => {}
            // `a/#` is for `a` too.
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_standard_says() {
        for (filter, topic, expect) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+/+", "/a", true),
            ("+", "/a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/a", false),
            ("+/user/#", "x/user/a/b", true),
            ("+/user/#", "$hw/user/a", false),
            ("$hw/#", "$hw/events", true),
            ("$hw/events/device/+/+/twin/+", "$hw/events/device/n/d/twin/update", true),
            ("$hw/events/device/+/+/twin/+", "$hw/events/device/n/d/twin/update/result", false),
        ] {
            assert_eq!(matches(filter, topic), expect, "{filter} {topic}");
        }
    }

    #[test]
    fn names_and_filters_are_told_apart_from_what_is_neither() {
        for (text, topic, filter) in [
            ("a/b", true, true),
            ("/", true, true),
            ("a/+/b", false, true),
            ("#", false, true),
            ("a/#", false, true),
            ("a/#/b", false, false),
            ("a+/b", false, false),
            ("a#", false, false),
            ("", false, false),
            ("a\0", false, false),
        ] {
            assert_eq!((is_topic(text), is_filter(text)), (topic, filter), "{text:?}");
        }
        assert!(!is_topic(&"x".repeat(65_536)));
    }
}
