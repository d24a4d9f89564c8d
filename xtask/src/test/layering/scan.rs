//! The modules that a Rust file declares and the paths in it that begin at the crate's root.
//!
//! In: a file's text, and which module it is. Out: both, without what is under `#[cfg(test)]`. Knows no rule.
//! It reads tokens, so that comments and strings do not count and a group over several lines does.

/// What a file holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Modules in files of their own.
    pub modules: Vec<Module>,
    /// Paths from the root of the crate.
    pub paths: Vec<Rooted>,
}

/// `mod name;`
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// The module that declares it.
    pub within: Vec<String>,
    pub name: String,
}

/// `crate::part::…`, or the same by way of `super`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rooted {
    /// What follows the root.
    pub part: String,
    /// From 1.
    pub line: usize,
}

/// A word or one character.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Reads the file of `module`, of which the crate's root is the empty one.
pub fn scan(text: &str, module: &[String]) -> Found {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, module: module.to_vec(), inline: Vec::new(), depth: 0 };
    let mut found = Found::default();
    while reader.at < tokens.len() {
        reader.step(&mut found);
    }
    found
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    module: Vec<String>,
    /// Depths at which inline modules began.
    inline: Vec<usize>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn step(&mut self, found: &mut Found) {
        match self.text(self.at) {
            "#" if self.text(self.at + 1) == "[" => return self.attribute(),
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.module.pop();
                }
            }
            "mod" if is_word(self.text(self.at + 1)) => return self.module(found),
            "crate" if self.is_path(self.at + 1) => return self.rooted(self.at + 3, found),
            "super" => return self.supers(found),
            _ => {}
        }
        self.at += 1;
    }

    /// Passes over an attribute; over its item too if that is only there in tests.
    fn attribute(&mut self) {
        let start = self.at + 1;
        let end = self.group_end(start);
        let words: Vec<_> = self.tokens[start..end].iter().map(|token| token.text).collect();
        self.at = end;
        if words.get(1) != Some(&"cfg") || !words.contains(&"test") || words.contains(&"not") {
            return;
        }
        while self.text(self.at) == "#" {
            self.at = self.group_end(self.at + 1);
        }
        let is_use = self.tokens[self.at..].iter().take(5).any(|token| token.text == "use");
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                ";" => break,
                "{" if !is_use => {
                    self.at = self.group_end(self.at);
                    return;
                }
                "(" | "[" | "{" => self.at = self.group_end(self.at),
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    /// One past the bracket that closes the one at `open`.
    fn group_end(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.tokens.len() {
            match self.text(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    fn module(&mut self, found: &mut Found) {
        let name = self.text(self.at + 1).to_owned();
        match self.text(self.at + 2) {
            ";" => found.modules.push(Module { within: self.module.clone(), name }),
            "{" => {
                self.inline.push(self.depth);
                self.module.push(name);
                self.depth += 1;
            }
            _ => {}
        }
        self.at += 3;
    }

    /// `super::super::…`
    fn supers(&mut self, found: &mut Found) {
        let mut ups = 1;
        let mut at = self.at + 1;
        while self.is_path(at) && self.text(at + 2) == "super" {
            ups += 1;
            at += 3;
        }
        if ups == self.module.len() && self.is_path(at) {
            return self.rooted(at + 2, found);
        }
        self.at = at;
    }

    /// What stands after `crate::`: a name, or a group of paths that each begin with one.
    fn rooted(&mut self, at: usize, found: &mut Found) {
        self.at = at;
        if self.text(at) != "{" {
            return self.part(at, found);
        }
        let end = self.group_end(at);
        let mut depth = 0;
        for inside in at..end {
            match self.text(inside) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 1 && matches!(self.text(inside - 1), "{" | ",") => self.part(inside, found),
                _ => {}
            }
        }
        self.at = end;
    }

    fn part(&self, at: usize, found: &mut Found) {
        if let Some(token) = self.tokens.get(at)
            && is_word(token.text)
        {
            found.paths.push(Rooted { part: token.text.to_owned(), line: token.line });
        }
    }

    fn is_path(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) == ":"
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words and characters, without space, comments, strings and character literals.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment_len(rest),
            '"' => string_len(rest),
            '\'' => quote_len(rest),
            c if c.is_alphanumeric() || c == '_' => {
                let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                match raw_string_len(&rest[..len], &rest[len..]) {
                    Some(string) => len + string,
                    None => {
                        tokens.push(Token { text: &rest[..len], line });
                        len
                    }
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token { text: &rest[..c.len_utf8()], line });
                }
                c.len_utf8()
            }
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// Of a block comment, which may hold others.
fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Of a string with its quotation marks.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Of a character literal; of the mark alone before a lifetime.
fn quote_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let after_escaped = chars.nth(1).map_or(text.len(), |(at, _)| at);
            text[after_escaped..].find('\'').map_or(text.len(), |end| after_escaped + end + 1)
        }
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

/// Of what follows the word `r`, `br` or `cr`, if it is a raw string.
fn raw_string_len(word: &str, rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !matches!(word, "r" | "br" | "cr") || !rest[hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let inside = hashes + 1;
    Some(rest[inside..].find(&close).map_or(rest.len(), |end| inside + end + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, module: &[&str]) -> Vec<(String, usize)> {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        scan(text, &module).paths.into_iter().map(|path| (path.part, path.line)).collect()
    }

    fn names(text: &str, module: &[&str]) -> Vec<String> {
        parts(text, module).into_iter().map(|(part, _)| part).collect()
    }

    #[test]
    fn a_group_gives_each_of_its_parts_with_its_line() {
        let text = "use crate::{\n    config::{self, X},\n    tail::{a::{b, c}, d},\n    status,\n};\nuse std::fs;\n";
        assert_eq!(parts(text, &["x"]), [("config".into(), 2), ("tail".into(), 3), ("status".into(), 4)]);
    }

    #[test]
    fn paths_in_code_count_and_those_in_comments_and_strings_do_not() {
        let text = "// crate::a\n/* crate::b /* crate::c */ crate::d */ fn f<'x>(c: char) -> crate::e::E<'x> {\n\
                    let s = \"crate::f \\\" crate::g\"; let r = r#\"crate::h \" crate::i\"#; let q = '\"'; let z = '\\'';\n\
                    crate::j::run::<crate::k::K>() }";
        assert_eq!(names(text, &["x"]), ["e", "j", "k"]);
    }

    #[test]
    fn super_counts_where_it_reaches_the_root() {
        assert_eq!(names("use super::{a, b}; use super::super::c;", &["x"]), ["a", "b"]);
        assert_eq!(names("use super::a; use super::super::{b::B, c};", &["x", "y"]), ["b", "c"]);
        assert_eq!(names("mod inner { use super::super::a; } use super::b;", &["x"]), ["a", "b"]);
    }

    #[test]
    fn what_is_only_there_in_tests_is_left_out() {
        let text = "#[cfg(test)]\nmod tests { use crate::a; fn f() { crate::b(); } }\n#[cfg(test)]\nmod more;\n\
                    #[cfg(test)]\n#[allow(x)]\npub use crate::{c, d};\n#[cfg(all(test, unix))]\nfn g() { crate::e() }\n\
                    #[cfg(not(test))]\nuse crate::f;\n#[derive(X)]\nstruct S(crate::g::G);\nmod own;";
        assert_eq!(names(text, &["x"]), ["f", "g"]);
        let modules = scan(text, &["x".to_owned()]).modules;
        assert_eq!(modules, [Module { within: vec!["x".to_owned()], name: "own".to_owned() }]);
    }
}
