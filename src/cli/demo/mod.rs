//! x
use super::Failure;
use super::args::DemoArgs;
pub fn run(_a: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
