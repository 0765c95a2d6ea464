//! A test harness for tests that run inside a lab: it enters the namespaces before any thread is there, which the standard harness
//! cannot, and speaks like the standard one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::enter::{Side, enter};

/// What a test says when it could not run; as an error, so that `?` works.
#[derive(Debug)]
pub struct Skipped(pub String);

/// A test: its name and its body.
pub type Test = (&'static str, fn() -> Result<(), Skipped>);

/// Runs the tests that the command line asks for, one after another. Nothing is skipped silently, and with `CI=true` nothing at all.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| {
        names.is_empty()
            || names.iter().any(|wanted| if exact { name == *wanted } else { name.contains(wanted.as_str()) })
    };
    let chosen: Vec<&Test> = tests.iter().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    match enter() {
        Ok(Side::Outside(code)) => return code,
        Ok(Side::Inside) => {}
        Err(refused) => {
            println!("SKIPPED all {} tests: {refused}", chosen.len());
            let (word, code) = if ci { ("FAILED", ExitCode::FAILURE) } else { ("ok", ExitCode::SUCCESS) };
            println!("test result: {word}. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out", chosen.len());
            return code;
        }
    }
    run(&chosen, tests.len(), ci)
}

fn run(chosen: &[&Test], all: usize, ci: bool) -> ExitCode {
    let began = Instant::now();
    let (mut passed, mut failed, mut skipped, mut repeated) = (0, 0, 0, Vec::new());
    println!("\nrunning {} tests", chosen.len());
    for (name, body) in chosen {
        let took = Instant::now();
        let mut result = catch_unwind(AssertUnwindSafe(body));
        // These tests rest on other programs and on the time that a shared machine gives them; promises rest on neither.
        if result.as_ref().is_err_and(|panic| !panic.is::<Broken>()) {
            println!("test {name} failed, and is tried once more");
            repeated.push(*name);
            result = catch_unwind(AssertUnwindSafe(body));
        }
        let took = took.elapsed().as_secs_f64();
        match result {
            Ok(Ok(())) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1} s)");
            }
            Ok(Err(Skipped(why))) if !ci => {
                skipped += 1;
                println!("test {name} ... ignored, SKIPPED: {why}");
            }
            Ok(Err(Skipped(why))) => {
                failed += 1;
                println!("test {name} ... FAILED: {why}, and with CI=true nothing is skipped");
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED ({took:.1} s)");
            }
        }
    }
    if !repeated.is_empty() {
        println!("\ntried twice: {}", repeated.join(", "));
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        all - chosen.len(),
        began.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A promise of the program was seen broken.
struct Broken;

/// A promise that is kept at every time and on every machine, such as that never two hosts answer. A test that sees it broken
/// has failed and is not tried again.
#[track_caller]
pub fn promised(kept: bool, story: impl FnOnce() -> String) {
    if !kept {
        eprintln!("a promise was broken: {}", story());
        std::panic::panic_any(Broken);
    }
}

/// Tools that a test cannot do without.
pub fn need(tools: &[&str]) -> Result<(), Skipped> {
    for tool in tools {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(Skipped(format!("{tool} is not installed")));
        }
    }
    Ok(())
}
