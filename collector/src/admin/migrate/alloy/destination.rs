//! `loki.write`: each endpoint is a client.

use crate::admin::migrate::{
    origin::{Client, Finding, Pair, Setting, Tree, Value as Written},
    promtail::{PASSWORD_FILE, TLS_FILES, TOKEN_FILE, secret_variable, with_user, without_user},
};

use super::{
    arguments::{InScope, Part, Read},
    converter::Converter,
    tables,
    value::{Located, Value},
};

impl<'a> Converter<'_, 'a> {
    /// The clients of a `loki.write`, as indexes of [`crate::admin::migrate::origin::Origin::clients`].
    pub fn destination(&mut self, index: usize) -> Vec<usize> {
        let component = self.reach(index);
        let id = component.block.id();
        let before = self.origin.findings.len();
        let (mut labels, mut endpoints) = (Vec::new(), Vec::new());
        for Read { key, what, part, .. } in self.walk(component, &format!("{id} "), tables::WRITE, &mut Vec::new()) {
            match part {
                Part::Value(value) if key == "external_labels" => labels = self.external_labels(&value, &what),
                Part::Block(endpoint) => endpoints.push(endpoint),
                Part::Value(_) => {}
            }
        }
        if endpoints.is_empty() {
            let place = self.place(component.block.place);
            self.not_possible(&place, &id, "has no endpoint: nothing says where lines go");
        }
        let first = self.origin.clients.len();
        let of_all = self.own_findings(before, &id);
        for endpoint in endpoints {
            let mut settings = self.endpoint(endpoint, &id);
            self.user_of_url(&mut settings);
            let place = self.place(endpoint.block.place);
            let (name, labels) = (id.clone(), labels.clone());
            let findings = of_all.iter().cloned().chain(self.own_findings(before, &id)).collect();
            let chart = Vec::new();
            self.origin.clients.push(Client { name, place, settings, labels, chart, findings });
        }
        if first == self.origin.clients.len() {
            self.origin.findings.extend(of_all);
        }
        (first..self.origin.clients.len()).collect()
    }

    /// Takes out the findings since then that are this component's; others, as of a variable, stay with those of the file.
    fn own_findings(&mut self, before: usize, id: &str) -> Vec<Finding> {
        let is_own = |finding: &Finding| finding.what.strip_prefix(id).is_some_and(|rest| rest.starts_with(' '));
        let (own, others) = self.origin.findings.split_off(before).into_iter().partition(is_own);
        self.origin.findings.extend::<Vec<_>>(others);
        own
    }

    fn external_labels(&mut self, value: &Located, what: &str) -> Vec<Setting> {
        let Some(tree) = self.tree(value, what) else { return Vec::new() };
        let mut labels = Vec::new();
        for label in tree.pairs() {
            let (key, from) = (format!("labels.{}", label.key), format!("{what}.{}", label.key));
            self.taken(&label.place, &from, &key);
            labels.push(Setting::new(key, label.value.clone(), from));
        }
        labels
    }

    fn endpoint(&mut self, endpoint: InScope<'a>, id: &str) -> Vec<Setting> {
        let mut settings = Vec::new();
        let to_read = self.walk(endpoint, &format!("{id} endpoint."), tables::ENDPOINT, &mut settings);
        let authorization = to_read.iter().find_map(|read| match (&read.part, read.key) {
            (Part::Value(value), "authorization.type") => value.value.plain(),
            _ => None,
        });
        let is_bearer = authorization.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        for Read { key, place, what, part } in &to_read {
            let Part::Value(value) = part else { continue };
            match *key {
                "headers" | "http_headers" => self.headers(value, what, &mut settings),
                "basic_auth.password" => {
                    self.secret(value, what, "loki.basic_auth.password_file", PASSWORD_FILE, &mut settings);
                }
                "bearer_token" => self.secret(value, what, "loki.bearer_token_file", TOKEN_FILE, &mut settings),
                key if key.starts_with("tls_config.") => {
                    for (_, new, file) in TLS_FILES.iter().filter(|(end, ..)| key.ends_with(&format!(".{end}_pem"))) {
                        self.secret(value, what, new, file, &mut settings);
                    }
                }
                "authorization.credentials" if is_bearer => {
                    self.secret(value, what, "loki.bearer_token_file", TOKEN_FILE, &mut settings);
                }
                "authorization.credentials_file" if is_bearer => {
                    if let Some(file) = self.tree(value, what) {
                        self.taken(place, what, "loki.bearer_token_file");
                        settings.push(Setting::new("loki.bearer_token_file", file, what));
                    }
                }
                "authorization.type" if is_bearer => self.taken(place, what, "loki.bearer_token_file"),
                "retry_on_http_429" => {
                    let text = "what Loki refuses for its rate is always repeated, and waits on the disk (loki.refused_streams)";
                    match value.value {
                        Value::Bool(true) => self.taken(place, what, text),
                        _ => self.changed(place, what, text),
                    }
                }
                _ => {
                    let text =
                        "only bearer tokens are possible here; others go into loki.headers, by an environment variable";
                    self.not_possible(place, what, text);
                }
            }
        }
        settings
    }

    /// Takes the user out of the address.
    fn user_of_url(&mut self, settings: &mut Vec<Setting>) {
        let Some(index) = settings.iter().position(|setting| setting.key == "loki.url") else { return };
        let Setting { value, from, .. } = settings[index].clone();
        let Some(address) = value.as_text().and_then(with_user) else { return };
        let text = without_user(&address);
        settings[index].value = Tree::text(&value.place, address.url);
        for (key, text) in
            [("loki.basic_auth.username", &*address.user), ("loki.basic_auth.password_file", PASSWORD_FILE)]
        {
            settings.push(Setting::new(key, Tree::text(&value.place, text), &from));
        }
        self.changed(&value.place, &from, &text);
    }

    /// A secret, which Pilcrow reads from a file, as Alloy may do too by a component.
    fn secret(&mut self, value: &Located, what: &str, key: &str, file: &str, settings: &mut Vec<Setting>) {
        let place = self.place(value.place);
        if let Value::Reference(reference) = &value.value {
            let component = self.reach(reference.component);
            if component.block.name == "local.file" {
                let id = component.block.id();
                for read in self.walk(component, &format!("{id} "), tables::LOCAL_FILE, &mut Vec::new()) {
                    let Part::Value(filename) = read.part else { continue };
                    if let Some(filename) = self.tree(&filename, &read.what) {
                        self.taken(&place, what, key);
                        settings.push(Setting::new(key, filename, &read.what));
                    }
                }
                return;
            }
        }
        settings.push(Setting::new(key, Tree::text(&place, file), what));
        let text = format!(
            "{key}: Pilcrow reads secrets from files; write this one to {file} (in the chart: a Secret, see below)"
        );
        self.changed(&place, what, &text);
    }

    fn headers(&mut self, value: &Located, what: &str, settings: &mut Vec<Setting>) {
        let Some(tree) = self.tree(value, what) else { return };
        let mut kept = Vec::new();
        for header in tree.pairs() {
            let what = format!("{what}.{}", header.key);
            let value = match (&header.value.value, header.value.items()) {
                (Written::Text(_), _) => header.value.clone(),
                // http_headers has lists.
                (_, [one]) if one.as_text().is_some() => one.clone(),
                _ => {
                    self.not_possible(&header.place, &what, "a header has one value in Pilcrow");
                    continue;
                }
            };
            if header.key.eq_ignore_ascii_case("x-scope-orgid") {
                self.taken(&header.place, &what, "loki.tenant");
                settings.push(Setting::new("loki.tenant", value, what));
                continue;
            }
            let value = self.header(header, value, &what);
            kept.push(Pair { value, ..header.clone() });
        }
        if !kept.is_empty() {
            settings.push(Setting::new("loki.headers", Tree { value: Written::Group(kept), ..tree }, what));
        }
    }

    /// A header's value: one that looks like a secret is left to the environment.
    fn header(&mut self, header: &Pair, value: Tree, what: &str) -> Tree {
        let Some(variable) = secret_variable(&header.key, value.as_text().unwrap_or("")) else {
            self.taken(&header.place, what, &format!("loki.headers.{}", header.key));
            return value;
        };
        let text = format!("looks like a secret: set the environment variable {variable} to it (the chart's extraEnv)");
        self.changed(&header.place, what, &text);
        Tree::text(&value.place, format!("${{{variable}}}"))
    }
}
