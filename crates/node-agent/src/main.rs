//! The node agent's program.

fn main() -> anyhow::Result<()> {
    node_agent::program()
}
