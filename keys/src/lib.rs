//! Alone touches private keys.
