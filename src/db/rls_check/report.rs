//! What a check found, for people and for machines.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Tenants are not kept apart, or may not be: the server must not start.
    Error,
    /// Slow, unusual, or a second line of defence missing.
    Warn,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
        })
    }
}

/// One broken rule at one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The rule: `R…` read from the catalogue, `B…` seen in behaviour, `X…` about the check itself.
    pub code: String,
    /// The object, as `schema.table` or `schema.table.index`, or a role.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
}

/// A probe that could not be made, so that nothing is known about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotProbed {
    /// The table and the role, as `schema.table as role`.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be tried.
    pub not_probed: Vec<NotProbed>,
    /// Findings that an exemption with a reason covers.
    pub n_exempted: usize,
    /// Attempts made by the behavioural part; 0 if it did not run.
    pub n_probes: usize,
}

impl Report {
    /// Whether the server must not start.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Whether the rule `code` found something, at `object` if one is given.
    pub fn found(&self, code: &str, object: Option<&str>) -> bool {
        self.findings.iter().any(|finding| finding.code == code && object.is_none_or(|object| finding.object == object))
    }

    /// Pretty JSON, with the summary's figures.
    ///
    /// # Errors
    /// None that this type can cause.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    pub(super) fn sort(&mut self) {
        self.findings.sort();
        self.findings.dedup();
        self.not_probed.sort();
    }
}

impl fmt::Display for Report {
    /// A table for a terminal and a line of summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |text: fn(&Finding) -> &str| self.findings.iter().map(|finding| text(finding).len()).max().unwrap_or(0);
        let (codes, objects) = (width(|finding| &finding.code), width(|finding| &finding.object));
        for Finding { level, code, object, message } in &self.findings {
            writeln!(f, "{level:5}  {code:codes$}  {object:objects$}  {message}")?;
        }
        for NotProbed { object, reason } in &self.not_probed {
            writeln!(f, "not probed: {object}: {reason}")?;
        }
        let n_errors = self.findings.iter().filter(|finding| finding.level == Level::Error).count();
        write!(
            f,
            "{n_errors} errors, {} warnings, {} exempted, {} probes, {} not probed",
            self.findings.len() - n_errors,
            self.n_exempted,
            self.n_probes,
            self.not_probed.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_errors_first_and_sums_up() {
        let finding = |level, code: &str| Finding {
            level,
            code: code.to_owned(),
            object: "a.b".to_owned(),
            message: "is wrong".to_owned(),
        };
        let mut report = Report { findings: vec![finding(Level::Warn, "R10_x")], ..Report::default() };
        assert!(!report.has_errors());
        report.findings.push(finding(Level::Error, "R99_long"));
        report.not_probed.push(NotProbed { object: "a.b as app_rw".to_owned(), reason: "no row".to_owned() });
        report.sort();
        assert!(report.has_errors());
        assert!(report.found("R10_x", Some("a.b")) && !report.found("R10_x", Some("a.c")));
        assert_eq!(
            report.to_string(),
            "ERROR  R99_long  a.b  is wrong\nWARN   R10_x     a.b  is wrong\nnot probed: a.b as app_rw: no row\n\
             1 errors, 1 warnings, 0 exempted, 0 probes, 1 not probed"
        );
        assert!(report.to_json().unwrap().contains("\"level\": \"ERROR\""));
    }
}
