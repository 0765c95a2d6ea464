//! The program as a user meets it: arguments in, output and exit codes out; the daemon in a network namespace of its own.

mod command_line;
mod daemon;
mod harness;
