//! kube-vip 0.1's flags, as text. They are declared from the table in `baton-config`, and checked there too: the checks
//! are the ones of the file's keys, and all problems are to be told at once.

use baton_config::FLAGS;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::cobra::{argument, flags_of_a_table};

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

flags_of_a_table!(Flags);

impl Flags {
    fn declare(command: Command) -> Command {
        let config = Arg::new("config").short('c').long("config").value_name("FILE").help("Configuration file");
        let mut command = command.arg(config.action(ArgAction::Set));
        for flag in FLAGS {
            let mut arg = argument(flag.name, flag.boolean).help(flag.about);
            if flag.name == "disableVIP" {
                arg = arg.short('d');
            }
            command = command.arg(arg.hide(flag.about == "Without effect"));
        }
        command
    }

    fn given(matches: &ArgMatches) -> Flags {
        let given = FLAGS.iter().filter_map(|flag| {
            let values: Vec<&str> = matches.get_many::<String>(flag.name)?.map(String::as_str).collect();
            let value = if LISTS.contains(&flag.name) { values.join(",") } else { (*values.last()?).to_owned() };
            Some((flag.name.to_owned(), value))
        });
        Flags { config: matches.get_one::<String>("config").cloned(), given: given.collect() }
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
