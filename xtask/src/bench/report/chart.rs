//! Charts of values by name, as SVG: bars from zero, or dots on a logarithmic scale.
//!
//! In: panels of rows. Out: one SVG with its own colours for light and dark pages, on a background of its own, as a page may be
//! dark where the browser prefers light. It has no script, refers to nothing else, and is the same for the same input. It must
//! not know what the values are.

use std::fmt::Write;

use super::scale::{self, Scale};

const WIDTH: f64 = 760.0;
/// Where names end and where the scale begins and ends; behind it is room for the largest value.
const NAMES: f64 = 236.0;
const BEGIN: f64 = 248.0;
const END: f64 = 680.0;
const ROW: f64 = 24.0;
const CAPTION_CHARS: usize = 116;

/// GitHub's text colours, and others with a contrast of 4.5 at least for text and 3 for marks on both backgrounds.
const STYLE: &str = "\
text{font:13px Inter,system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif;fill:#1f2328}\
.bg{fill:#fff}.title{font-size:16px;font-weight:600}.head{font-weight:600}.note{font-size:11.5px;fill:#59636e}\
.own{font-weight:600}.grid{stroke:#d1d9e0}.ours{fill:#0969da;stroke:#0969da}.floor{fill:#59636e;stroke:#59636e}\
.other{fill:#bc4c00;stroke:#bc4c00}.loses{fill:#fff}\
.val{paint-order:stroke;stroke:#fff;stroke-width:4px}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.bg{fill:#0d1117}.note{fill:#9198a1}.grid{stroke:#3d444d}\
.ours{fill:#4493f8;stroke:#4493f8}.floor{fill:#9198a1;stroke:#9198a1}.other{fill:#db6d28;stroke:#db6d28}.loses{fill:#0d1117}.val{stroke:#0d1117}}";

/// A picture.
pub struct Chart {
    pub title: String,
    pub panels: Vec<Panel>,
    /// Where the figures come from; paragraphs.
    pub caption: Vec<String>,
}

/// Rows on one scale.
pub struct Panel {
    /// What is measured, with its unit.
    pub heading: String,
    pub scale: Scale,
    pub rows: Vec<Row>,
}

pub enum Row {
    /// A heading of the rows below it.
    Group(String),
    Value(Value),
}

pub struct Value {
    pub name: String,
    /// More of the name, less important.
    pub note: String,
    pub value: f64,
    pub kind: Kind,
    /// It did not deliver all lines, so that its figure is no comparison.
    pub loses_lines: bool,
}

/// What has which colour.
#[derive(Clone, Copy)]
pub enum Kind {
    Ours,
    Floor,
    Other,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Floor => "floor",
            Self::Other => "other",
        }
    }
}

impl Chart {
    /// Text of an SVG file.
    pub fn svg(&self) -> String {
        let mut body = Body { svg: String::new(), y: 34.0 };
        body.text("title", "start", 20.0, &self.title);
        body.y += 8.0;
        for panel in self.panels.iter().filter(|panel| !panel.values().is_empty()) {
            body.panel(panel);
        }
        for line in self.caption.iter().flat_map(|paragraph| wrapped(paragraph, CAPTION_CHARS)) {
            body.y += 16.0;
            body.text("note", "start", 20.0, &line);
        }
        let (height, title) = (body.y + 18.0, escaped(&self.title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n{}</svg>\n",
            body.svg
        )
    }
}

impl Panel {
    fn values(&self) -> Vec<f64> {
        self.rows.iter().filter_map(|row| if let Row::Value(value) = row { Some(value.value) } else { None }).collect()
    }
}

/// What is drawn so far, and how far down.
struct Body {
    svg: String,
    y: f64,
}

impl Body {
    fn text(&mut self, class: &str, anchor: &str, x: f64, text: &str) {
        let (y, text) = (self.y, escaped(text));
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.svg, "{element}");
    }

    fn panel(&mut self, panel: &Panel) {
        self.y += 24.0;
        self.text("head", "start", 20.0, &panel.heading);
        let ticks = scale::ticks(panel.scale, &panel.values());
        let x = |value: f64| BEGIN + (END - BEGIN) * panel.scale.part(value, &ticks);
        let (top, bottom) = (self.y + 10.0, self.y + 14.0 + ROW * panel.rows.len() as f64);
        for tick in &ticks {
            let x = x(*tick);
            self.push(format_args!("<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>"));
        }
        for row in &panel.rows {
            self.y += ROW;
            match row {
                Row::Group(name) => self.text("note", "start", 20.0, name),
                Row::Value(value) => self.value(value, panel.scale, x(value.value)),
            }
        }
        self.y = bottom + 16.0;
        for tick in &ticks {
            self.text("note", "middle", x(*tick), &scale::label(*tick));
        }
        self.y += 6.0;
    }

    fn value(&mut self, value: &Value, scale: Scale, x: f64) {
        let Value { name, note, kind, loses_lines, .. } = value;
        let (y, middle, class) = (self.y, self.y - 4.5, kind.class());
        let own = if matches!(kind, Kind::Ours) { "own" } else { "" };
        let (name, note) = (escaped(name), escaped(note));
        let note = if note.is_empty() { note } else { format!("<tspan class=\"note\" dx=\"5\">{note}</tspan>") };
        self.push(format_args!(
            "<text class=\"{own}\" x=\"{NAMES}\" y=\"{y}\" text-anchor=\"end\">{name}{note}</text>"
        ));
        let hollow = if *loses_lines { " loses" } else { "" };
        let beside = match scale {
            Scale::FromZero => {
                let (top, width) = (middle - 6.5, (x - BEGIN).max(1.0));
                self.push(format_args!(
                    "<rect class=\"{class}{hollow}\" x=\"{BEGIN}\" y=\"{top}\" width=\"{width:.1}\" height=\"13\"/>"
                ));
                6.0
            }
            // A bar's length would say nothing there, as the scale has no zero.
            Scale::Logarithmic => {
                self.push(format_args!(
                    "<path class=\"{class}\" stroke-opacity=\".45\" d=\"M{BEGIN} {middle}H{x:.1}\"/>"
                ));
                self.push(format_args!(
                    "<circle class=\"{class}{hollow}\" stroke-width=\"2\" cx=\"{x:.1}\" cy=\"{middle}\" r=\"5\"/>"
                ));
                11.0
            }
        };
        let lost = if *loses_lines { " · loses lines" } else { "" };
        self.text(&format!("val {own}"), "start", x + beside, &format!("{}{lost}", value.value));
    }
}

/// Lines of at most this many characters, broken at spaces.
fn wrapped(text: &str, chars: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > chars {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Text for XML and HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, loses_lines: bool) -> String {
        let value = |name: &str, value, loses_lines| {
            Row::Value(Value { name: name.into(), note: String::new(), value, kind: Kind::Other, loses_lines })
        };
        let rows = vec![value("<one>", 1.0, false), value("two", 100.0, loses_lines)];
        let panel = Panel { heading: "h".into(), scale, rows };
        let empty = Panel { heading: "nothing".into(), scale, rows: Vec::new() };
        Chart { title: "a & b".into(), panels: vec![panel, empty], caption: vec!["from here".into()] }.svg()
    }

    #[test]
    fn text_is_escaped_and_a_panel_without_values_is_left_out() {
        let svg = chart(Scale::Logarithmic, false);
        assert!(svg.contains("<title>a &amp; b</title>") && svg.contains("&lt;one&gt;"), "{svg}");
        assert!(!svg.contains("nothing") && !svg.contains("loses lines"), "{svg}");
    }

    #[test]
    fn a_collector_that_loses_lines_is_marked() {
        for scale in [Scale::Logarithmic, Scale::FromZero] {
            let svg = chart(scale, true);
            assert_eq!(svg.matches("100 · loses lines").count(), 1, "{svg}");
            assert_eq!(svg.matches("other loses\"").count(), 1, "{svg}");
        }
    }

    #[test]
    fn a_caption_is_broken_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("overlong", 3), ["overlong"]);
    }
}
