//! Measurements against the originals. Each owns one section of docs/benchmarks.md and writes only that.

mod failover;
mod kubernetes;
mod load;
mod proxy;
mod sessions;

use anyhow::{Context, Result, bail};

use crate::{debian, process};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which one; without a name, all
    subject: Option<String>,
    /// Arguments of that one; with `--only`, what was measured is printed and the page left alone
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// A measurement: it prints what it sees while it runs, and returns its section as Markdown.
type Measure = fn(&[String]) -> Result<String>;

/// All of them, in the order of the page.
const SUBJECTS: &[(&str, Measure)] = &[
    ("failover", failover::measure),
    ("vrrp", failover::measure_vrrp),
    ("kubernetes", kubernetes::measure),
    ("proxy", proxy::measure),
    ("sessions", sessions::measure),
];

/// Runs one measurement, or all.
pub(crate) fn run(args: &Args) -> Result<()> {
    debian::set_up()?;
    let wanted = |name: &str| args.subject.as_deref().is_none_or(|subject| subject == name);
    let chosen: Vec<_> = SUBJECTS.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        bail!("there is no such measurement; there are: {}", names.join(", "));
    }
    for (name, measure) in chosen {
        let section = measure(&args.args).with_context(|| format!("measuring {name}"))?;
        // A part of the measurements is no section.
        if args.args.iter().any(|arg| arg.starts_with("--only")) {
            println!("{section}");
        } else {
            write(name, &section)?;
        }
    }
    Ok(())
}

/// Puts a section between its marks.
fn write(name: &str, section: &str) -> Result<()> {
    let path = process::root().join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let page = replace(&page, name, section).with_context(|| format!("{} has no place for {name}", path.display()))?;
    std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
}

fn replace(page: &str, name: &str, section: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", section.trim_end()))
}

#[cfg(test)]
mod tests {
    //! The page keeps what other measurements wrote.

    use super::replace;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = replace(page, "x", "new\n").expect("x is there");
        assert_eq!(new, "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n");
        assert_eq!(replace(page, "y", "new"), None);
    }
}
