//! Records what a real server does; `cargo xtask record server` runs it and says what the server is to do.

fn main() -> anyhow::Result<()> {
    tests::recorded::run(std::io::stdin().lock(), std::io::stdout().lock())
}
