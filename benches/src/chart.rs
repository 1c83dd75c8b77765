//! The chart: CPU seconds per GB, a group of bars for each workload, a bar for each relay, as SVG.

use std::fmt::Write as _;

const LEFT: f64 = 60.0;
const TOP: f64 = 56.0;
const HEIGHT: f64 = 260.0;
const BAR: f64 = 13.0;
const GAP: f64 = 22.0;
/// Narrows stands out; the others are greys and muted tones that differ in brightness too.
const COLOURS: [(&str, &str); 8] = [
    ("narrows", "#d9480f"),
    ("haproxy-splice", "#1c3d5a"),
    ("haproxy-copy", "#5b8db8"),
    ("nginx", "#2b8a3e"),
    ("envoy", "#9775c9"),
    ("raw-splice", "#495057"),
    ("raw-copy", "#adb5bd"),
    ("", "#c2a14d"),
];

/// One group of bars.
pub struct Group {
    pub name: String,
    /// Relay and value.
    pub bars: Vec<(String, f64)>,
}

/// The whole picture; `caption` says where and when.
pub fn svg(title: &str, caption: &str, groups: &[Group]) -> String {
    let bars = |group: &Group| group.bars.len() as f64 * BAR + GAP;
    let width = LEFT + groups.iter().map(bars).sum::<f64>().max(640.0) + 20.0;
    let top = groups
        .iter()
        .flat_map(|group| &group.bars)
        .map(|(_, value)| *value)
        .fold(0.0, f64::max);
    let step = step(top);
    let top = (top / step).ceil().max(1.0) * step;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} 400\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{}</text>",
        escape(title)
    );
    let mut tick = 0.0;
    while tick <= top + step / 2.0 {
        let at = y(tick);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dee2e6\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{tick:.2}</text>",
            width - 10.0,
            LEFT - 6.0,
            at + 4.0
        );
        tick += step;
    }
    let mut x = LEFT + GAP / 2.0;
    for group in groups {
        let start = x;
        for (relay, value) in &group.bars {
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
                 fill=\"{}\"><title>{} {}: {value:.3}</title></rect>",
                y(*value),
                BAR - 2.0,
                TOP + HEIGHT - y(*value),
                colour(relay),
                escape(&group.name),
                escape(relay),
            );
            x += BAR;
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (start + x) / 2.0,
            TOP + HEIGHT + 16.0,
            escape(&group.name)
        );
        x += GAP;
    }
    let mut x = LEFT;
    let mut relays: Vec<&str> = Vec::new();
    for (relay, _) in groups.iter().flat_map(|group| &group.bars) {
        if !relays.contains(&relay.as_str()) {
            relays.push(relay);
        }
    }
    for relay in relays {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"30\" width=\"10\" height=\"10\" fill=\"{}\"/><text \
             x=\"{:.0}\" y=\"39\">{}</text>",
            colour(relay),
            x + 14.0,
            escape(relay)
        );
        x += 24.0 + 6.5 * relay.len() as f64;
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"372\" fill=\"#495057\">{}</text>\n</svg>",
        escape(caption)
    );
    out
}

/// A round distance between lines: five or so of them.
fn step(top: f64) -> f64 {
    let rough = (top / 5.0).max(0.01);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn colour(relay: &str) -> &'static str {
    COLOURS
        .iter()
        .find(|(name, _)| *name == relay || name.is_empty())
        .map_or("#000", |(_, colour)| colour)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
