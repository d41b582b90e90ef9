//! The program `kubectl-resmgr`, which kubectl runs as `kubectl resmgr`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_resmgr::program()
}
