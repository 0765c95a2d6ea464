//! Log lines: to standard error, for people by default, as JSON when asked.
//!
//! A line for people is the time, the level and one sentence; the fields that programs want (which address, why, how
//! long) are in the JSON form only.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::args::{LogFormat, LogLevel};
use crate::syslog::Syslog;

/// The level meant by kube-vip's number (logrus: 0 panic … 6 trace).
#[must_use]
pub fn level_of_logrus(number: u32) -> LogLevel {
    match number {
        0..=2 => LogLevel::Error,
        3 => LogLevel::Warn,
        4 => LogLevel::Info,
        5 => LogLevel::Debug,
        _ => LogLevel::Trace,
    }
}

/// Starts logging. The libraries below us are heard only when they warn.
pub fn start(format: LogFormat, level: LogLevel) {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new().with_target("baton", own).with_default(own.min(LevelFilter::WARN));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A second logger in one process (tests) is not an error worth dying for.
    let _ = match format {
        LogFormat::Human => registry.with(layer.event_format(Human)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_target(false)).try_init(),
    };
}

/// Starts logging where a program that was made for syslog would: to syslog, to standard error, to both or nowhere.
pub fn start_as_daemon(console: bool, syslog: Option<Syslog>, detail: bool) {
    let own = if detail { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let filter = Targets::new().with_target("baton", own).with_default(LevelFilter::WARN);
    let to_console = console
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).event_format(Human));
    let to_syslog = syslog
        .map(|syslog| tracing_subscriber::fmt::layer().with_writer(syslog).with_ansi(false).event_format(Sentence));
    // A second logger in one process (tests) is not an error worth dying for.
    let _ = tracing_subscriber::registry().with(filter).with(to_console).with(to_syslog).try_init();
}

/// The sentence alone: whoever takes it knows time and level.
struct Sentence;

impl<S, N> FormatEvent<S, N> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = Message { out: &mut out, result: Ok(()) };
        event.record(&mut message);
        message.result
    }
}

/// Time, level, sentence.
struct Human;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut out)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN ",
            Level::INFO => "INFO ",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        write!(out, " {level} ")?;
        let mut message = Message { out: &mut out, result: Ok(()) };
        event.record(&mut message);
        message.result?;
        writeln!(out)
    }
}

/// Picks the sentence out of an event's fields.
struct Message<'a, 'w> {
    out: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl Visit for Message<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" && self.result.is_ok() {
            self.result = write!(self.out, "{value:?}");
        }
    }
}
