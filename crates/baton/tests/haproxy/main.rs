//! `baton haproxy`: sessions, log lines and the runtime socket, side by side with haproxy where that is installed.

mod beside;
mod checks;
mod hostile;
mod http;
mod reload;
mod servers;
mod world;
