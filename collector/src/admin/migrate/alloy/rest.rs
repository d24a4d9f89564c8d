//! What is not on a way from a pod's log to Loki: Alloy's own settings, and components for other things.

use crate::admin::migrate::{
    origin::{Setting, Tree},
    promtail::keys::Way,
};

use super::{
    arguments::{Part, Read},
    converter::Converter,
    tables,
};

impl Converter<'_, '_> {
    /// Goes through everything that no pipeline has reached.
    pub fn rest(&mut self) {
        for (place, what, text) in &self.evaluator.world.problems {
            let place = self.place(*place);
            let is_import = |name: &str| self.evaluator.world.missed.contains(name);
            match what.strip_prefix("import.").and_then(|import| import.split_once('.')) {
                Some((_, name)) if !is_import(name) => {
                    self.changed(&place, what, "no component of it is used, so that it is left out");
                }
                _ => self.not_possible(&place, what, text),
            }
        }
        for index in 0..self.evaluator.world.components.len() {
            if !self.reached.contains(&index) {
                self.unreached(index);
            }
        }
    }

    fn unreached(&mut self, index: usize) {
        let block = self.component(index).block;
        let (place, what) = (self.place(block.place), block.id());
        if block.name == "logging" {
            return self.logging(index);
        }
        match tables::of_component(&block.name) {
            Some(Way::ByItself(text)) => self.taken(&place, &what, text),
            Some(Way::Changed(text)) => self.changed(&place, &what, text),
            Some(Way::NotPossible(text)) => self.not_possible(&place, &what, text),
            Some(Way::Read(_) | Way::To(..)) => {
                let text = "no way from a pod's log to Loki goes through it, so that it is left out";
                self.changed(&place, &what, text);
            }
            None => self.not_possible(&place, &what, "is no component that is known here; left out"),
        }
    }

    fn logging(&mut self, index: usize) {
        let component = self.reach(index);
        for Read { key, place, what, part } in self.walk(component, "logging ", tables::LOGGING, &mut Vec::new()) {
            let Part::Value(value) = part else { continue };
            let (new, text) = match (key, value.value.plain()) {
                ("level", Some(level @ ("error" | "warn" | "info" | "debug"))) => ("log.level", level),
                ("format", Some("logfmt")) => ("log.format", "text"),
                ("format", Some("json")) => ("log.format", "json"),
                _ => {
                    self.not_possible(&place, &what, "is no value that is known here; see log.level and log.format");
                    continue;
                }
            };
            let told = format!("{new}: {text}");
            match text {
                "text" => self.changed(&place, &what, &told),
                _ => self.taken(&place, &what, &told),
            }
            self.origin.settings.push(Setting::new(new, Tree::text(&place, text), what));
        }
    }
}
