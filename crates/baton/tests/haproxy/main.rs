//! `baton haproxy`: sessions, log lines and the runtime socket, side by side with haproxy where that is installed.

mod beside;
mod hostile;
mod reload;
mod world;
