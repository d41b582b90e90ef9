//! Downloads and uploads against stand-ins.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

mod downloads;
mod pushes;
mod quirks;
mod signing_in;
mod stand_in;
mod uploads;
