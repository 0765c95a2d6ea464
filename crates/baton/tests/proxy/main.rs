//! The data path over real sockets on the loopback interface.

mod check;
mod http;
mod tcp;
mod world;
