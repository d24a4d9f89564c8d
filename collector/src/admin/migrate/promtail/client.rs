//! One client: where lines are sent. Repeats no secret.

use super::{
    keys,
    walk::{ToRead, Walk},
};
use crate::admin::migrate::origin::{Client, Finding, Kind, Origin, Pair, Setting, Tree, Value, our_variable_name};

/// Where a secret that stood in the old file is expected now.
pub const PASSWORD_FILE: &str = "/etc/pilcrow/password";
pub const TOKEN_FILE: &str = "/etc/pilcrow/token";

/// Where certificates and their key are expected that stood in the old file: by the end of its key, with Pilcrow's.
pub const TLS_FILES: [(&str, &str, &str); 3] = [
    ("ca", "loki.tls.ca_file", "/etc/pilcrow/ca.crt"),
    ("cert", "loki.tls.cert_file", "/etc/pilcrow/tls.crt"),
    ("key", "loki.tls.key_file", "/etc/pilcrow/tls.key"),
];

/// The variable that holds the value of a header which looks like a secret.
pub fn secret_variable(header: &str, value: &str) -> Option<String> {
    let lower = header.to_ascii_lowercase();
    let is_secret = ["auth", "cookie", "key", "password", "secret", "token"].iter().any(|word| lower.contains(word));
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    (is_secret && !value.contains("${")).then(|| format!("LOKI_{}", header.chars().map(upper).collect::<String>()))
}

/// Reads a client; `what`: `clients[0]`.
pub fn read(group: &Tree, what: &str, origin: &mut Origin) {
    if !group.is_group(what, &mut origin.findings) {
        return;
    }
    let group = &group.map_texts(&braced);
    let (name, place) = (what.to_owned(), group.place.clone());
    let (settings, labels, chart, findings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut client = Client { name, place, settings, labels, chart, findings };
    let Client { settings, findings, .. } = &mut client;
    let to_read = Walk { settings, findings }.group(group, what, keys::CLIENT);
    Reader { client: &mut client, what }.all(&to_read);
    origin.clients.push(client);
}

/// An address in which a user was named.
pub struct Address {
    pub user: String,
    password: Password,
    /// Without the user.
    pub url: String,
}

/// Where the password stood.
enum Password {
    Nowhere,
    InUrl,
    Variable(String),
}

/// Takes the user out of an address. In the braces of a variable nothing separates.
pub fn with_user(text: &str) -> Option<Address> {
    let masked = masked(text);
    let start = masked.find("://")? + 3;
    let host_end = masked[start..].find('/').map_or(text.len(), |at| start + at);
    let at = start + masked[start..host_end].rfind('@')?;
    let colon = masked[start..at].find(':').map(|colon| start + colon);
    let password = match colon.map(|colon| &text[colon + 1..at]) {
        None | Some("") => Password::Nowhere,
        Some(password) if password.starts_with("${") => Password::Variable(password.to_owned()),
        Some(_) => Password::InUrl,
    };
    let url = format!("{}{}", &text[..start], &text[at + 1..]);
    Some(Address { user: text[start..colon.unwrap_or(at)].to_owned(), password, url })
}

/// What is said where the user was taken out.
pub fn without_user(address: &Address) -> String {
    let password = match &address.password {
        Password::Nowhere => "the password".to_owned(),
        Password::InUrl => "the password that stands in the URL".to_owned(),
        Password::Variable(variable) => format!("the password that {variable} stands for"),
    };
    format!("loki.url without the user, who is in loki.basic_auth: write {password} to the file {PASSWORD_FILE}")
}

/// `$NAME` as `${NAME}`: for Promtail with `-config.expand-env` both are variables.
pub fn braced(text: &str) -> String {
    let mut new = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        new.push_str(before);
        let name: String =
            behind.chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
        let ends = !behind[name.len()..].starts_with(|c: char| c.is_ascii_alphabetic());
        if name.len() > 1 && ends && name.starts_with(|c: char| c.is_ascii_uppercase()) {
            new.push_str(&format!("${{{}}}", our_variable_name(&name)));
            rest = &behind[name.len()..];
        } else {
            // Two are a plain one.
            let doubled = usize::from(behind.starts_with('$'));
            new.push_str(&"$$"[..1 + doubled]);
            rest = &behind[doubled..];
        }
    }
    new + rest
}

/// The text with what stands in braces of variables hidden; each byte stays where it is.
fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let Some(end) = text[at..].find('}').map(|end| at + end) else { break };
        bytes[at..=end].fill(b'x');
        from = end + 1;
    }
    // All that was written over is whole texts in braces.
    String::from_utf8(bytes).unwrap_or_default()
}

struct Reader<'r> {
    client: &'r mut Client,
    what: &'r str,
}

impl Reader<'_> {
    fn all(&mut self, to_read: &ToRead<'_>) {
        let is_bearer = to_read
            .iter()
            .find(|(key, _)| *key == "authorization.type")
            .is_none_or(|(_, pair)| pair.value.as_text().is_some_and(|text| text.eq_ignore_ascii_case("bearer")));
        for (key, pair) in to_read {
            match *key {
                "url" => self.url(pair),
                "headers" => self.headers(pair),
                "external_labels" => self.labels(pair),
                "basic_auth.password" => self.secret(key, pair, "loki.basic_auth.password_file", PASSWORD_FILE),
                "bearer_token" => self.secret(key, pair, "loki.bearer_token_file", TOKEN_FILE),
                "authorization.credentials" if is_bearer => {
                    self.secret(key, pair, "loki.bearer_token_file", TOKEN_FILE)
                }
                "authorization.credentials_file" if is_bearer => {
                    self.set("loki.bearer_token_file", pair.value.clone(), key);
                    self.find(Kind::Taken, pair, key, "loki.bearer_token_file");
                }
                "basic_auth.username_file" => {
                    self.set("loki.basic_auth.username", Tree::text(&pair.value.place, "${LOKI_USERNAME}"), key);
                    let text = "loki.basic_auth.username: ${LOKI_USERNAME}: set this variable to what is in the file (the chart's extraEnv)";
                    self.find(Kind::Changed, pair, key, text);
                }
                key if key.starts_with("tls_config.") => {
                    for (_, new, file) in TLS_FILES.iter().filter(|(end, ..)| key.ends_with(&format!(".{end}"))) {
                        self.secret(key, pair, new, file);
                    }
                }
                "authorization.type" if is_bearer => self.find(Kind::Taken, pair, key, "loki.bearer_token_file"),
                _ => {
                    let text = "only bearer tokens are possible here; others go into loki.headers, by a variable of the environment";
                    self.find(Kind::NotPossible, pair, key, text);
                }
            }
        }
    }

    fn find(&mut self, kind: Kind, pair: &Pair, key: &str, text: impl Into<String>) {
        self.client.findings.push(Finding::new(kind, &pair.place, format!("{}.{key}", self.what), text));
    }

    fn set(&mut self, new: &str, value: Tree, key: &str) {
        self.client.settings.push(Setting::new(new, value, format!("{}.{key}", self.what)));
    }

    fn url(&mut self, pair: &Pair) {
        let text = pair.value.as_text().unwrap_or("");
        let Some(address) = with_user(text) else {
            self.set("loki.url", pair.value.clone(), "url");
            return self.find(Kind::Taken, pair, "url", "loki.url");
        };
        self.set("loki.url", Tree::text(&pair.value.place, address.url.as_str()), "url");
        self.set("loki.basic_auth.username", Tree::text(&pair.value.place, address.user.as_str()), "url");
        self.set("loki.basic_auth.password_file", Tree::text(&pair.value.place, PASSWORD_FILE), "url");
        self.find(Kind::Changed, pair, "url", without_user(&address));
    }

    fn secret(&mut self, key: &str, pair: &Pair, new: &str, file: &str) {
        self.set(new, Tree::text(&pair.value.place, file), key);
        let text = format!(
            "{new}: Pilcrow reads secrets from files; write this one to {file} (in the chart: a Secret, see below)"
        );
        self.find(Kind::Changed, pair, key, text);
    }

    fn labels(&mut self, pair: &Pair) {
        pair.value.is_group(&format!("{}.external_labels", self.what), &mut self.client.findings);
        for label in pair.value.pairs() {
            let key = format!("external_labels.{}", label.key);
            if label.value.as_text().is_none() {
                let text = format!("expected a text, found {}, so that it is left out", label.value.kind());
                self.find(Kind::NotPossible, label, &key, text);
                continue;
            }
            self.find(Kind::Taken, label, &key, format!("labels.{}", label.key));
            let from = format!("{}.{key}", self.what);
            self.client.labels.push(Setting::new(format!("labels.{}", label.key), label.value.clone(), from));
        }
    }

    fn headers(&mut self, pair: &Pair) {
        pair.value.is_group(&format!("{}.headers", self.what), &mut self.client.findings);
        let mut kept = Vec::new();
        for header in pair.value.pairs() {
            let key = format!("headers.{}", header.key);
            let value = header.value.as_text().unwrap_or("");
            if header.key.eq_ignore_ascii_case("x-scope-orgid") {
                self.set("loki.tenant", header.value.clone(), &key);
                self.find(Kind::Taken, header, &key, "loki.tenant");
                continue;
            }
            let mut header = header.clone();
            if let Some(variable) = secret_variable(&header.key, value) {
                header.value = Tree::text(&header.value.place, format!("${{{variable}}}"));
                let text = format!(
                    "looks like a secret: set the variable {variable} in the environment from one (the chart's extraEnv)"
                );
                self.find(Kind::Changed, &header, &key, text);
            } else {
                self.find(Kind::Taken, &header, &key, format!("loki.headers.{}", header.key));
            }
            kept.push(header);
        }
        if !kept.is_empty() {
            self.set("loki.headers", Tree { place: pair.value.place.clone(), value: Value::Group(kept) }, "headers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_braces_get_them() {
        for (text, expected) in [
            ("http://$LOKI_HOST:3100/x", "http://${LOKI_HOST}:3100/x"),
            ("$HOSTNAME", "${NODE_NAME}"),
            ("${A}$B", "${A}$B"),
            ("$$LOKI_HOST", "$$LOKI_HOST"),
            ("a$", "a$"),
            ("$Ab", "$Ab"),
        ] {
            assert_eq!(braced(text), expected, "{text}");
        }
    }

    #[test]
    fn a_user_is_taken_out_of_an_address_also_where_variables_have_defaults() {
        for (text, user, url) in [
            ("http://u:p@loki:3100/x", "u", "http://loki:3100/x"),
            ("http://${U:-a}:${P}@${H:-loki}:3100/x", "${U:-a}", "http://${H:-loki}:3100/x"),
            ("https://${U}@loki", "${U}", "https://loki"),
        ] {
            let address = with_user(text).unwrap();
            assert_eq!((address.user.as_str(), address.url.as_str()), (user, url), "{text}");
        }
        for text in ["http://loki/a@b", "${URL:-http://a:b@c/}", "http://loki:3100", "loki"] {
            assert!(with_user(text).is_none(), "{text}");
        }
    }
}
