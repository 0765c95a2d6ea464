//! Texts as Go's library of that name reads them: users of Kubernetes write what Go takes.

/// `ParseBool`; `None`: it is no boolean.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}
