//! Limits of what is kept: logs, records of decisions, artifacts.

use windlass_core::artifact::Keep;
use windlass_core::decision::Budget;
use windlass_core::horizon::Horizons;
use windlass_core::keeping::Method;

use crate::attributes::{ARTIFACTS, DECISIONS, LOGS};
use crate::config::Logs;
use crate::diagnostic::Report;
use crate::section::{Field, Section, either};

/// The most of the end of a log that is kept: it lies in memory while its step runs.
const MAX_TAIL: u64 = 16 << 20;

/// How much of history is kept, by number.
pub(crate) fn read_horizons(top: &mut Section<'_>, report: &mut Report) -> Horizons {
    let mut count = |name, report: &mut Report| {
        let field = top.take(name, report)?;
        Some((field, field.integer(1, u32::MAX.into(), report)?.unsigned_abs()))
    };
    let builds = count("build_horizon", report);
    let logs = count("log_horizon", report);
    if let (Some((_, builds)), Some((field, logs))) = (builds, logs)
        && logs > builds
    {
        let message = format!("`{}` is more than `build_horizon`", field.name);
        report
            .error("bad-value", &field.node.span, message)
            .help(format!("the logs of a build go with it, at the latest after {builds} others"));
    }
    let changes = count("change_horizon", report);
    let number = |found: Option<(Field<'_>, u64)>| found.map(|(_, number)| number);
    Horizons { builds: number(builds), logs: number(logs), changes: number(changes) }
}

/// `[logs]`, and what of it stands at the top.
pub(crate) fn read_logs(top: &mut Section<'_>, report: &mut Report) -> Logs {
    let mut section = top.take("logs", report).and_then(|f| f.section(&LOGS, report));
    let mut logs = Logs::default();
    let mut take = |name, at_top: &'static str, report: &mut Report| {
        let own = section.as_mut().and_then(|s| s.take(name, report));
        let at_top = if at_top.is_empty() { None } else { top.take(at_top, report) };
        either(own, at_top, report)
    };
    logs.max_bytes = take("max_bytes", "", report).and_then(|f| f.size(report));
    if let Some(size) = take("max_log_bytes", "log_max_size", report).and_then(|f| f.size(report)) {
        logs.max_log_bytes = size;
    }
    if let Some(field) = take("log_max_tail_size", "log_max_tail_size", report) {
        let span = field.node.span.clone();
        match field.size(report) {
            Some(size) if size > MAX_TAIL => {
                let message = "`log_max_tail_size` may be 16 MiB at the most: it is memory of the master";
                report.error("bad-value", &span, message).help("raise `max_log_bytes` to keep more of a log");
            }
            size => logs.max_log_tail_bytes = size.unwrap_or(logs.max_log_tail_bytes),
        }
    }
    if let Some(field) = take("log_compression_method", "log_compression_method", report) {
        let span = field.node.span.clone();
        if let Some(name) = field.text(report) {
            match Method::named(name) {
                Some(method) => logs.keeping.method = method,
                None => {
                    let message = format!("logs cannot be compressed by `{name}`");
                    report.error("bad-value", &span, message).help("use `zstd`, `gzip` or `none`");
                }
            }
        }
    }
    if let Some(field) = take("log_compression_limit", "log_compression_limit", report) {
        // Buildbot's way to say that nothing is compressed.
        let limit = match field.is_boolean() {
            Some(false) => Some(u64::MAX),
            _ => field.size(report),
        };
        logs.keeping.limit = limit.unwrap_or(logs.keeping.limit);
    }
    logs.keeping.horizon_ms = take("log_horizon", "", report).and_then(|f| match f.duration_ms(report)? {
        0 => f.refuse("must not be 0", "leave it out to keep logs for ever", report),
        ms => Some(ms),
    });
    if let Some(section) = section {
        section.finish(report);
    }
    logs
}

/// `[decisions]`: how many records of decisions are kept.
pub(crate) fn read_decisions(field: Option<Field<'_>>, report: &mut Report) -> Budget {
    let mut section = field.and_then(|f| f.section(&DECISIONS, report));
    let mut take = |name, report: &mut Report| section.as_mut().and_then(|s| s.take(name, report));
    let max_bytes = take("max_bytes", report).and_then(|f| f.size(report));
    let max_age_ms = take("max_age", report).and_then(|f| f.duration_ms(report));
    if let Some(section) = section {
        section.finish(report);
    }
    let usual = Budget::default();
    Budget {
        max_bytes: max_bytes.unwrap_or(usual.max_bytes),
        max_age_ms: max_age_ms.unwrap_or(usual.max_age_ms),
    }
}

/// What artifacts leave free of the disk, unless the file says otherwise: for rows and logs.
const KEEP_FREE: u64 = 256 * 1024 * 1024;

/// `[artifacts]`: how large they may be, and how long they are kept.
pub(crate) fn read_artifacts(field: Option<Field<'_>>, report: &mut Report) -> Keep {
    let mut section = field.and_then(|f| f.section(&ARTIFACTS, report));
    let mut take = |name, report: &mut Report| section.as_mut().and_then(|s| s.take(name, report));
    let max_bytes = take("max_bytes", report).and_then(|f| f.size(report));
    let max_artifact_bytes = take("max_artifact_bytes", report).and_then(|f| f.size(report));
    let keep_free = take("keep_free", report).and_then(|f| f.size(report));
    let max_age_ms = take("max_age", report).and_then(|f| f.duration_ms(report));
    if let Some(section) = section {
        section.finish(report);
    }
    Keep { max_bytes, max_artifact_bytes, max_age_ms, keep_free: keep_free.unwrap_or(KEEP_FREE) }
}
