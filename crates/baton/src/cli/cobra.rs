//! Go's ways on a command line: flags of every subcommand may stand before it, and booleans take `=`.

use std::ffi::OsString;

use baton_config::manager::{GONE, SETTINGS};
use baton_core::strconv::parse_bool;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Commands that are groups of others.
const GROUPS: [&str; 3] = ["manifest", "kubeadm", "sample"];
/// Flags with a value, beside those of the tables.
const VALUED: [&str; 5] = ["image", "config", "log-format", "log-level", "run-dir"];
/// Flags without one.
const SWITCHES: [&str; 5] = ["inCluster", "taint", "role", "rolebinding", "minimal"];

/// Puts flags that stand before the last subcommand behind it, where clap looks for them.
#[must_use]
pub fn commands_first(args: Vec<OsString>) -> Vec<OsString> {
    let mut commands = Vec::new();
    let mut flags = Vec::new();
    let mut rest = args.into_iter();
    commands.extend(rest.next());
    while let Some(arg) = rest.next() {
        let text = arg.to_str().unwrap_or_default();
        if text.starts_with('-') && text.len() > 1 {
            let alone = !takes_next(text);
            let known = !text.starts_with("--") || is_known(text);
            flags.push(arg);
            if !known {
                break;
            }
            if !alone {
                flags.extend(rest.next());
            }
        } else {
            let group = GROUPS.contains(&text);
            commands.push(arg);
            if !group {
                break;
            }
        }
    }
    commands.extend(flags);
    commands.extend(rest);
    commands
}

fn name_of(flag: &str) -> &str {
    flag.trim_start_matches('-').split('=').next().unwrap_or_default()
}

fn is_known(flag: &str) -> bool {
    let name = name_of(flag);
    VALUED.contains(&name)
        || SWITCHES.contains(&name)
        || SETTINGS.iter().any(|setting| setting.flag == name)
        || GONE.iter().any(|gone| gone.flag == name)
}

/// Whether the next argument is the flag's value.
fn takes_next(flag: &str) -> bool {
    if flag.contains('=') {
        return false;
    }
    let Some(name) = flag.strip_prefix("--") else { return SETTINGS.iter().any(|s| is_short(flag, s.short)) };
    VALUED.contains(&name)
        || SETTINGS.iter().any(|setting| setting.flag == name && !setting.boolean())
        || GONE.iter().any(|gone| gone.flag == name && !gone.boolean)
}

fn is_short(flag: &str, short: Option<char>) -> bool {
    short.is_some_and(|short| flag.strip_prefix('-').is_some_and(|rest| rest.chars().eq([short])))
}

/// A boolean as Go reads it.
///
/// # Errors
/// It is none.
pub fn boolean(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| "expected true or false".to_owned())
}

/// kube-vip 1.x's flags, as text: they are declared from the table in `baton-config`, and checked there too, so that
/// all problems are told at once.
#[derive(Clone, Debug, Default)]
pub struct ManagerFlags {
    /// What was given, by name, in the table's order.
    pub given: Vec<(String, String)>,
}

/// An argument as Go's flags have it: `--arp`, `--arp=false`, never `--arp false`; given again, it goes on.
pub(super) fn argument(name: &'static str, boolean: bool) -> Arg {
    let arg = Arg::new(name).long(name).action(ArgAction::Append);
    if boolean {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
    } else {
        arg.value_name("VALUE").allow_hyphen_values(true)
    }
}

/// Has clap take a type's flags out of a table: `declare` adds them to a command, `given` reads what was given.
macro_rules! flags_of_a_table {
    ($type:ty) => {
        impl clap::Args for $type {
            fn augment_args(command: clap::Command) -> clap::Command {
                <$type>::declare(command)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                <$type>::declare(command)
            }
        }

        impl clap::FromArgMatches for $type {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<$type, clap::Error> {
                Ok(<$type>::given(matches))
            }

            fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
                *self = <$type>::given(matches);
                Ok(())
            }
        }
    };
}
pub(super) use flags_of_a_table;

flags_of_a_table!(ManagerFlags);

impl ManagerFlags {
    fn declare(mut command: Command) -> Command {
        let mut taken: Vec<String> = command.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)).collect();
        for setting in SETTINGS.iter().filter(|setting| !setting.flag.is_empty()) {
            let mut arg = argument(setting.flag, setting.boolean()).hide(setting.hidden());
            let default = if setting.default.is_empty() || setting.boolean() {
                String::new()
            } else {
                format!(" [default: {}]", setting.default)
            };
            arg = arg.help(format!("{}{default}", setting.about));
            if let Some(short) = setting.short {
                arg = arg.short(short);
            }
            taken.push(setting.flag.to_owned());
            command = command.arg(arg);
        }
        for gone in GONE.iter().filter(|gone| !taken.iter().any(|name| name == gone.flag)) {
            command = command.arg(argument(gone.flag, gone.boolean).hide(true).help("Without effect"));
        }
        command
    }

    fn given(matches: &ArgMatches) -> ManagerFlags {
        let known = SETTINGS.iter().filter(|s| !s.flag.is_empty()).map(|s| (s.flag, s.list()));
        let names = known.chain(GONE.iter().map(|gone| (gone.flag, false)));
        let given = names.filter_map(|(name, list)| {
            // A command's own flag of the same name is of another type.
            let values = matches.try_get_many::<String>(name).ok()??;
            let values: Vec<&str> = values.map(String::as_str).collect();
            let value = if list { values.join(",") } else { (*values.last()?).to_owned() };
            Some((name.to_owned(), value))
        });
        ManagerFlags { given: given.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        flags: ManagerFlags,
    }

    #[test]
    fn the_forms_of_go() {
        let check = |line: &str, expected: &[(&str, &str)]| {
            let flags = Line::try_parse_from(line.split(' ')).expect(line).flags;
            let given: Vec<_> = flags.given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(given.as_slice(), expected, "{line}");
        };
        check("x --interface=a --interface b", &[("interface", "b")]);
        check("x --arp --services=false --log -4", &[("services", "false"), ("arp", "true"), ("log", "-4")]);
        check("x -n web -c plndr", &[("namespace", "web"), ("configMap", "plndr")]);
        check("x --etcdEndpoints=a,b --etcdEndpoints c", &[("etcdEndpoints", "a,b,c")]);
        check("x --startAsLeader --cidr 32", &[("cidr", "32"), ("startAsLeader", "true")]);
        check("x --prometheusHTTPServer=", &[("prometheusHTTPServer", "")]);
        assert!(Line::try_parse_from(["x", "--arp", "false"]).is_err());
    }

    #[test]
    fn flags_before_commands() {
        let check = |line: &str, expected: &str| {
            let args = commands_first(line.split(' ').map(OsString::from).collect());
            assert_eq!(args.join(OsStr::new(" ")), OsString::from(expected), "{line}");
        };
        check(
            "kube-vip --interface eth0 --arp manager --services",
            "kube-vip manager --interface eth0 --arp --services",
        );
        check("kube-vip --image=x manifest --inCluster pod --arp", "kube-vip manifest pod --image=x --inCluster --arp");
        check("kube-vip -n web manager", "kube-vip manager -n web");
        check("kube-vip manager --address x manifest", "kube-vip manager --address x manifest");
        check("kube-vip --nonsense manager", "kube-vip --nonsense manager");
        check("kube-vip -h", "kube-vip -h");
        check("kube-vip", "kube-vip");
    }
}
