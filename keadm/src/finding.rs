//! What a check saw, how bad that is, and what to do.

use std::fmt;

use serde::Serialize;

use crate::say::say;

/// How bad what was seen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Nothing is to be done.
    Ok,
    /// It works, and something should be done.
    Warning,
    /// It does not work.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at, one word or two.
    pub(crate) check: &'static str,
    pub(crate) state: State,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do; empty if nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) todo: String,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, state: State::Ok, seen: seen.into(), todo: String::new() }
    }

    pub(crate) fn warning(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Warning, seen: seen.into(), todo: todo.into() }
    }

    pub(crate) fn failed(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Failed, seen: seen.into(), todo: todo.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<12} {}", self.state, self.check, self.seen)?;
        if self.todo.is_empty() { Ok(()) } else { write!(f, "\n{:<22}do: {}", "", self.todo) }
    }
}

/// Returns the worst state.
pub(crate) fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
}

/// Those of findings that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failures(Vec<Finding>);

impl Failures {
    /// Returns them, if there are any.
    pub(crate) fn of(findings: &[Finding]) -> Option<Self> {
        let failed = findings.iter().filter(|finding| finding.state == State::Failed);
        let failed: Vec<Finding> = failed.cloned().collect();
        (!failed.is_empty()).then_some(Self(failed))
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Finding { check, seen, todo, .. }) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{check}: {seen} ({todo})")?;
        }
        Ok(())
    }
}

/// Prints findings for people.
pub(crate) fn print(findings: &[Finding]) {
    for finding in findings {
        say(&finding.to_string());
    }
}
