//! `benches/run` is the way in; it sets everything up and starts this program, which measures. The subcommands
//! `broker` and `relay` are the processes that it starts itself.

mod broker;
mod frames;
mod load;
mod meter;
mod raw;
mod relays;
mod sys;

use anyhow::Result;
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["broker", port, folder] => broker::run(port.parse()?, folder.as_ref()),
        ["relay", port, upstream, mode] => raw::run(port.parse()?, upstream.parse()?, *mode == "splice"),
        _ => anyhow::bail!("benches/run starts this"),
    }
}
