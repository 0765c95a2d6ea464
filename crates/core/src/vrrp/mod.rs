//! VRRP (RFC 3768, 5798, 9568, with keepalived's ways): virtual routers whose mastership ends by itself.

pub mod event;
pub mod note;
pub mod settings;
pub mod status;

pub use event::{Effect, Event, Found, Notice, Subject};
pub use note::{Note, Reject, Why};
pub use settings::{Name, Settings};
pub use status::{State, Status};
