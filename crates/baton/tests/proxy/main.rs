//! The data path over real sockets on the loopback interface.

mod tcp;
mod world;
