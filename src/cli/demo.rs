//! `klamm demo`: the main job, on brokers inside this process.

use super::DemoArgs;

pub(super) fn run(_args: DemoArgs) -> anyhow::Result<()> {
    anyhow::bail!("the demo itself is not part of this build yet")
}
