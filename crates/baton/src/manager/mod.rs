//! `baton manager`: what is read of the API's objects.

pub mod objects;
