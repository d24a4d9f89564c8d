//! The trend page: charts of values over time and a table of the runs, as one HTML file.
//!
//! In: charts and runs. Out: HTML with its pictures in it, for light and dark, without a script and without a request to
//! anything else. What a point is shows when the pointer rests on it, and in the table.

use std::fmt::Write;

use super::super::{
    chart::escaped,
    scale::{self, Scale},
    source::Measured,
};

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 170.0;
/// Where the scales begin and end.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 372.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 148.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2328;--back:#fff;--muted:#59636e;--grid:#d1d9e0;--a:#0969da;--b:#bc4c00;--c:#1a7f37}\
@media(prefers-color-scheme:dark){:root{--text:#f0f6fc;--back:#0d1117;--muted:#9198a1;--grid:#3d444d;--a:#4493f8;--b:#db6d28;--c:#3fb950}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);max-width:1240px;margin:0 auto;padding:16px}\
h1{font-size:22px}h2{font-size:18px}p{max-width:80ch}\
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:20px}\
figure{margin:0}figcaption{font-weight:600;font-size:14px}figcaption span{font-weight:400;margin-left:10px}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--muted)}\
.grid{stroke:var(--grid)}.line{fill:none;stroke:currentColor;stroke-width:1.5}circle{fill:currentColor}\
.s0{color:var(--a)}.s1{color:var(--b)}.s2{color:var(--c)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px}td,th{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--grid)}";

/// One figure over time.
pub struct Chart {
    pub heading: String,
    pub series: Vec<Series>,
}

/// Values that can be compared with each other, in the order of time.
pub struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

pub struct Point {
    pub time_s: i64,
    pub value: f64,
    /// Commit, day, machine.
    pub what: String,
}

/// The whole page.
pub fn html(charts: &[Chart], runs: &[Measured]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Pilcrow's benchmark over time</title>\n<style>{STYLE}</style></head><body>\n<h1>Pilcrow's benchmark over time</h1>\n\
         <p>{} runs. Ratios to the floor and instructions can be compared from run to run. CPU time and memory depend on the \
         machine too, and the machines of CI differ; what a point was measured on shows when the pointer rests on it.</p>\n\
         <div class=\"charts\">\n",
        runs.len()
    );
    for chart in charts {
        out.push_str(&figure(chart));
    }
    out.push_str("</div>\n<h2>Runs, newest first</h2>\n<div class=\"wide\" tabindex=\"0\"><table>\n<tr><th>day</th><th>commit</th><th>machine</th><th>command</th></tr>\n");
    for machine in runs.iter().rev().map(Measured::machine) {
        let cells = [machine.day(), machine.commit.clone(), machine.name(), machine.command.clone()];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table></div>\n</body></html>\n");
    out
}

fn figure(chart: &Chart) -> String {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let ticks = scale::ticks(Scale::FromZero, &points().map(|point| point.value).collect::<Vec<_>>());
    let first = points().map(|point| point.time_s).min().unwrap_or(0);
    let last = points().map(|point| point.time_s).max().unwrap_or(0);
    let x = |time_s: i64| match last - first {
        0 => (LEFT + RIGHT) / 2.0,
        length => LEFT + 6.0 + (RIGHT - LEFT - 12.0) * (time_s - first) as f64 / length as f64,
    };
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * Scale::FromZero.part(value, &ticks);
    let mut svg = String::new();
    for tick in &ticks {
        let (y, label) = (y(*tick), scale::label(*tick));
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (anchor, at, time_s) in [("start", LEFT, first), ("end", RIGHT, last)] {
        let day = jiff::Timestamp::from_second(time_s).unwrap_or_default().strftime("%F");
        let _ = writeln!(svg, "<text x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{day}</text>", HEIGHT - 4.0);
    }
    let mut names = String::new();
    for (index, Series { name, points }) in chart.series.iter().enumerate() {
        let class = index % 3;
        let line: Vec<_> = points.iter().map(|point| format!("{:.1} {:.1}", x(point.time_s), y(point.value))).collect();
        let _ = writeln!(svg, "<g class=\"s{class}\"><path class=\"line\" d=\"M{}\"/>", line.join("L"));
        for point in points {
            let (x, y, value) = (x(point.time_s), y(point.value), scale::label(point.value));
            let what = escaped(&point.what);
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{what}: {value}</title></circle>");
        }
        svg.push_str("</g>\n");
        let newest = points.last().map_or(0.0, |point| point.value);
        let name = if name.is_empty() { "newest".to_owned() } else { escaped(name) };
        let _ = write!(names, "<span class=\"s{class}\">{name}: {}</span>", scale::label((newest * 1e3).round() / 1e3));
    }
    let heading = escaped(&chart.heading);
    format!(
        "<figure><figcaption>{heading}{names}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{heading}\">\n{svg}</svg></figure>\n"
    )
}
