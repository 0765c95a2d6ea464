//! The reference of `keepalived.conf` as Markdown, from the tables that the reader itself uses.

use super::keywords::{Block, KEYWORDS, Keyword, NETWORK, Tier};
use super::lint::LINTS;

const HEAD: &str = "\
# keepalived.conf

`baton keepalived -f FILE` reads keepalived's own file. This page says what it does with each keyword and what
`baton check FILE` finds. How to run it, and how to move from keepalived, is in [keepalived.md](keepalived.md).

*This page is generated from the tables that the reader itself uses.*

- **A**: does what keepalived does; found in most files. **B**: the same, found in some. **C**: read, and without effect;
  a message says so. What is written and cannot be done is refused by name and line, never passed over.
- **Lines**: comments begin with `#` or `!`; `//` is no comment. `{` stands on the keyword's line or on the next one.
  `\"…\"` is one word. `@id` and `@^id` make a line conditional (`-i`, or the host's name up to the first dot);
  `$NAME=value`, `${NAME}`, `~SEQ(…)`, `~LST(…)`, `include` and its variants, `${_PWD}`, `${_INSTANCE}`, `${_RANDOM}`,
  `${_HASH}`, `${_BANG}` work as in keepalived 2.2, and `${_ENV NAME}` as in later ones.
- **Messages**: one line each, `FILE:LINE:COLUMN: KEY: what is wrong (VALUE), what is expected`. Exit status of `-t`: 0
  nothing to say, 5 warnings, 6 scripts without `enable_script_security` or a required include that is missing, 2 a
  parameter that is missing, 4 `interface_up_down_delays` of an interface that is not there: those of keepalived 2.2.7.
- **Where it departs**: a check whose program is missing, cannot be executed or has no such user fails (keepalived drops it
  and goes on unchecked). `interval` and `timeout` of a script may have a fraction. `auth_type AH` is refused. `--strict`
  refuses what keepalived only weakens: a password that is cut or lost, a check that cannot run.
- **Checks that need no script**: what finds out whether a process runs (`killall -0`, `pidof`, `pgrep`, `ps -C`), a unit is
  active (`systemctl is-active`), a port answers (`</dev/tcp/…`, `nc -z`) or a URL does (`curl`, `wget`; of https with `-k`), and
  scripts made of these with `if`, `||`, `&&` and functions that fail, are answered in the process. A script of which one
  line is not understood is run.
";

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    out.push_str("\n## What `baton check` finds\n\n| name | finds | `--fix` |\n| --- | --- | --- |\n");
    for lint in LINTS {
        out.push_str(&format!("| `{}` | {} | {} |\n", lint.name, lint.finds, lint.fix));
    }
    for (block, rows) in KEYWORDS {
        let title = if *block == Block::Root { "Outside of blocks" } else { block.name() };
        // Checks that have nothing but what is common to all.
        if rows.is_empty() {
            table(&mut out, "All checks over the network", NETWORK);
        } else {
            table(&mut out, title, rows);
        }
    }
    out
}

fn table(out: &mut String, title: &str, rows: &[Keyword]) {
    out.push_str(&format!("\n## {title}\n\n| keyword | | |\n| --- | --- | --- |\n"));
    for row in rows {
        let tier = match row.tier {
            Tier::A => "A",
            Tier::B => "B",
            Tier::C => "C",
        };
        out.push_str(&format!("| `{}` | {tier} | {} |\n", row.name, row.about));
    }
}
