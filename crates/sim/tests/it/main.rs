//! The simulation of the keeper that ships: many seeds, planted mistakes, and a search through a small cluster.

mod exhaustive;
mod leases;
mod planted;
mod seeds;
mod vrrp;
