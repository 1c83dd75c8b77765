//! What operators see: metrics and logs.
//!
//! * [`metrics`]: every metric that Narrows has, handed out as handles so that the data path
//!   touches only atomics;
//! * [`logs`]: where log lines go, and in which shape; [`queue`]: how they get there without
//!   holding anybody up;
//! * [`filter`]: which of them are wanted;
//! * [`incidents`]: what went wrong lately, and which of it becomes a log line;
//! * [`text`]: how a name that came over the wire is put into a log line;
//! * [`time`]: points in time as people read them;
//! * [`throttle`]: how a line that an outsider can provoke is kept from filling the log.

pub mod filter;
pub(crate) mod incidents;
pub mod logs;
pub mod metrics;
mod process;
pub(crate) mod queue;
pub(crate) mod text;
pub(crate) mod throttle;
pub(crate) mod time;

pub use filter::LogFilter;
pub use logs::{LogFormat, LogSettings};
pub use metrics::Metrics;
