//! How long a certificate is good.

use std::path::Path;
use std::time::{Duration, SystemTime};

use edgecore::certificate::CertificateFacts;

use super::time::{apart, date, length};
use crate::finding::Finding;

/// What follows from the end of a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    /// The check's name.
    pub(crate) check: &'static str,
    /// Whose it is, for people.
    pub(crate) whose: &'a str,
    /// Whether it is replaced by itself.
    pub(crate) renews: bool,
    /// How another is got.
    pub(crate) todo: &'a str,
}

/// So much of its life must be left: from here on it should have been replaced.
const LATE_FROM: f64 = 0.08;
/// The same for one that nobody replaces.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// Looks at a file.
pub(crate) fn file(path: &Path, holder: &Holder<'_>, now: SystemTime) -> Finding {
    match CertificateFacts::of_file(path) {
        Ok(facts) => judge(&facts, holder, now),
        Err(problem) => Finding::failed(holder.check, problem, holder.todo),
    }
}

/// Judges a certificate.
pub(crate) fn judge(facts: &CertificateFacts, holder: &Holder<'_>, now: SystemTime) -> Finding {
    let Holder { check, whose, renews, todo } = *holder;
    if facts.from > now {
        let seen = format!("{whose} begins at {}, in {}", date(facts.from), length(apart(facts.from, now)));
        return Finding::failed(
            check,
            seen,
            "set this machine's clock: timedatectl set-ntp true, or date -s",
        );
    }
    if facts.until <= now {
        let seen = format!("{whose} ended at {}, {} ago", date(facts.until), length(apart(now, facts.until)));
        return Finding::failed(check, seen, todo);
    }
    let left = apart(facts.until, now);
    let life = apart(facts.until, facts.from);
    let seen = format!("{whose} is good until {}, for {}", date(facts.until), length(left));
    if renews && left.as_secs_f64() < life.as_secs_f64() * LATE_FROM {
        let todo = "it should have been replaced by now: see edgecore's log for \"could not be replaced\"";
        return Finding::warning(check, seen, todo);
    }
    if !renews && left < SOON {
        return Finding::warning(check, seen, todo);
    }
    Finding::ok(check, seen)
}
