//! Every message, word by word.
