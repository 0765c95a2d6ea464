//! The settings of `baton manager` as a document, made from the table that reads them.

use super::table::{GONE, SETTINGS, Setting, Standing};

const HEAD: &str = "\
# Settings of `baton manager`

<!-- Made from the code by `cargo xtask fix`; edit crates/config/src/manager instead. -->

Each setting of kube-vip 1.x has a flag, an environment variable and a field in the file of `--config-file` (YAML or JSON),
and means what it means there. **The environment goes before a flag, a flag before the file**, as in kube-vip's code. An empty
variable is not set, `lb_class_name` excepted. Booleans are Go's: 1, t, true, 0, f, false. `svc_election`,
`svc_leasename`, `svc_namespace` and the three `lb_class_…` are read only where `svc_enable` is set, too (kube-vip 1.2 does
the same; Baton warns).

Names of fields are read in any case; fields of `KubernetesLeaderElection` may also stand at the root. All mistakes are
reported at once, and nothing on the host was changed then.

";

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn row(setting: &Setting) -> String {
    let flag = match (setting.flag, setting.short) {
        ("", _) => String::new(),
        (flag, Some(short)) => format!("`--{flag}`, `-{short}`"),
        (flag, None) => format!("`--{flag}`"),
    };
    let env: Vec<String> = setting.env.iter().map(|name| code(name)).collect();
    format!(
        "| {flag} | {} | {} | {} | {} |\n",
        env.join(", "),
        code(setting.field),
        code(setting.default),
        setting.about
    )
}

const TABLE: &str = "| flag | environment | field | default | |\n| --- | --- | --- | --- | --- |\n";

/// The document.
#[must_use]
pub fn settings_reference() -> String {
    let mut out = HEAD.to_owned();
    let refused = |s: &&Setting| s.about.starts_with("Refused");
    out.push_str("## What works\n\n");
    out.push_str(TABLE);
    let works = SETTINGS.iter().filter(|s| matches!(s.standing, Standing::Works | Standing::Own) && !refused(s));
    out.extend(works.map(row));
    out.push_str("\n`--ipam` is Baton's own, and so are `--log-level`, `--log-format` and `--run-dir`.\n");
    out.push_str(
        "\n## What is refused\n\nWith exit code 2 and before anything is changed. Use kube-vip for these.\n\n",
    );
    out.push_str(TABLE);
    out.extend(SETTINGS.iter().filter(refused).map(row));
    out.push_str(
        "| `--leaderElectionType=etcd` | | `LeaderElectionType` | `kubernetes` | Refused: an election by etcd |\n",
    );
    out.push_str(
        "\n## What is accepted and has no effect\n\nA warning says so when a value other than the default asks for something.\n\n\
        | flag | environment | field | because |\n| --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let why = match setting.standing {
            Standing::Of(feature) => format!("{feature} is not in this version"),
            Standing::Idle(why) | Standing::Silent(why) | Standing::Refuses(why) => why.to_owned(),
            Standing::Works | Standing::Own => continue,
        };
        let flag = if setting.flag.is_empty() { String::new() } else { format!("`--{}`", setting.flag) };
        let env: Vec<String> = setting.env.iter().map(|name| code(name)).collect();
        out.push_str(&format!("| {flag} | {} | {} | {why} |\n", env.join(", "), code(setting.field)));
    }
    out.push_str(
        "\n## Flags that came and went\n\nOlder releases of kube-vip had them. They are accepted with a warning; environment \
        variables that nobody knows any more are ignored, as in kube-vip.\n\n| flag | |\n| --- | --- |\n",
    );
    for gone in GONE {
        let now = SETTINGS.iter().find(|s| s.field == gone.now).map(|s| format!("works as `--{}`", s.flag));
        out.push_str(&format!("| `--{}` | {} |\n", gone.flag, now.unwrap_or_else(|| gone.why.to_owned())));
    }
    out
}
