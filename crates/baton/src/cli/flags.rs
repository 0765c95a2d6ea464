//! kube-vip 0.1's flags, as text. They are declared from the table in `baton-config`, and checked there too: the checks
//! are the ones of the file's keys, and all problems are to be told at once.

use baton_config::FLAGS;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// What was given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file.
    pub config: Option<String>,
    /// The other flags by name, in the table's order.
    pub given: Vec<(String, String)>,
}

/// Flags that are lists: given more than once, they add up.
const LISTS: [&str; 2] = ["remotePeers", "lbBackends"];

fn declare(command: Command) -> Command {
    let config = Arg::new("config").short('c').long("config").value_name("FILE").help("Configuration file");
    let mut command = command.arg(config.action(ArgAction::Set));
    for flag in FLAGS {
        let mut arg = Arg::new(flag.name).long(flag.name).action(ArgAction::Append).help(flag.about);
        if flag.boolean {
            // As Go's flags have it: `--arp`, `--arp=false`, never `--arp false`.
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL");
        } else {
            arg = arg.value_name("VALUE");
        }
        if flag.name == "disableVIP" {
            arg = arg.short('d');
        }
        command = command.arg(arg.hide(flag.about == "Without effect"));
    }
    command
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        declare(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        declare(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.config = matches.get_one::<String>("config").cloned();
        self.given = FLAGS
            .iter()
            .filter_map(|flag| {
                let values: Vec<&str> = matches.get_many::<String>(flag.name)?.map(String::as_str).collect();
                let value = if LISTS.contains(&flag.name) { values.join(",") } else { (*values.last()?).to_owned() };
                Some((flag.name.to_owned(), value))
            })
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn the_forms_of_go() {
        let check = |line: &str, config: Option<&str>, expected: &[(&str, &str)]| {
            let flags = Line::try_parse_from(line.split(' ')).expect(line).flags;
            let given: Vec<_> = flags.given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!((flags.config.as_deref(), given.as_slice()), (config, expected), "{line}");
        };
        check("start -c a -c b", Some("b"), &[]);
        check("start --config=a --vip=1 --vip 2", Some("a"), &[("vip", "2")]);
        check(
            "start --arp --singleNode=false -d",
            None,
            &[("disableVIP", "true"), ("singleNode", "false"), ("arp", "true")],
        );
        check("start --remotePeers=a,b --remotePeers c", None, &[("remotePeers", "a,b,c")]);
        check("start --arp=nonsense", None, &[("arp", "nonsense")]);
        assert!(Line::try_parse_from(["start", "--arp", "false"]).is_err());
    }
}
