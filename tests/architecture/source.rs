//! Rust source as a list of tokens, and the paths that it names. Comments, strings and characters are left out.

use std::collections::BTreeMap;

/// A path as it is written, for example `crate::ring::Entry`, groups of a `use` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The segments. A glob ends with `*`.
    pub(crate) path: Vec<String>,
    /// The inline modules around it, from the outermost.
    pub(crate) within: Vec<String>,
    /// Whether it is in test code: below a `#[cfg(test)]`.
    pub(crate) is_test: bool,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// What one file says.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every path.
    pub(crate) names: Vec<Named>,
    /// What its `use` items bind at the top of the file: the name here, and its path.
    pub(crate) bound: BTreeMap<String, Vec<String>>,
    /// Child modules in files of their own; true for those below a `#[cfg(test)]`.
    pub(crate) children: BTreeMap<String, bool>,
    /// Modules written in the file itself.
    pub(crate) inline: Vec<String>,
    /// Lines outside of test modules.
    pub(crate) lines: usize,
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

impl Source {
    /// Reads a whole file.
    pub(crate) fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let mut reader =
            Reader { tokens: &tokens, at: 0, within: Vec::new(), found: Self::default(), test_lines: 0, binds: false };
        reader.items(false, false);
        let mut found = reader.found;
        found.lines = text.lines().count().saturating_sub(reader.test_lines);
        found
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    within: Vec<String>,
    found: Source,
    test_lines: usize,
    /// Whether the paths that are read are those of a `use` at the top of the file.
    binds: bool,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| &token.text)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.line)
    }

    /// Reads to the end of a block. `one` ends after one item.
    fn items(&mut self, is_test: bool, one: bool) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "}" => return,
                "#" => {
                    let begins_test = self.attribute(is_test) && !is_test;
                    if begins_test {
                        self.test_item();
                    }
                    if begins_test && one {
                        return;
                    }
                    continue;
                }
                "mod" if is_name(self.peek(1)) && self.peek(2) == ";" => {
                    let name = self.peek(1).to_owned();
                    self.found.children.insert(name, is_test);
                    self.at += 3;
                }
                "mod" if is_name(self.peek(1)) && self.peek(2) == "{" => {
                    let name = self.peek(1).to_owned();
                    self.found.inline.push(name.clone());
                    self.within.push(name);
                    self.at += 3;
                    self.items(is_test, false);
                    self.at += 1;
                    self.within.pop();
                }
                "use" if self.peek(1) != "<" => {
                    self.at += 1;
                    self.binds = self.within.is_empty() && !is_test;
                    self.tree(&[], is_test);
                    self.binds = false;
                    self.at += 1;
                }
                "{" => {
                    self.at += 1;
                    self.items(is_test, false);
                    self.at += 1;
                    if one && self.peek(0) != "else" {
                        return;
                    }
                    continue;
                }
                ";" => self.at += 1,
                _ => {
                    self.path(is_test);
                    continue;
                }
            }
            if one {
                return;
            }
        }
    }

    /// Reads one item of test code, and counts its lines.
    fn test_item(&mut self) {
        let first = self.line();
        self.items(true, true);
        let last = self.tokens.get(self.at.saturating_sub(1)).map_or(first, |token| token.line);
        self.test_lines += last + 1 - first;
    }

    /// Passes an attribute, the paths in it included. Whether it says `cfg(test)`.
    fn attribute(&mut self, is_test: bool) -> bool {
        self.at += if self.peek(1) == "!" { 2 } else { 1 };
        let says_test = self.peek(0) == "[" && self.peek(1) == "cfg" && self.peek(3) == "test" && self.peek(4) == ")";
        let mut depth = 0_usize;
        loop {
            match self.peek(0) {
                "[" => depth += 1,
                "]" => depth = depth.saturating_sub(1),
                "" => return says_test,
                _ => {
                    self.path(is_test);
                    continue;
                }
            }
            self.at += 1;
            if depth == 0 {
                return says_test;
            }
        }
    }

    /// Passes a token, or a path outside of `use`.
    fn path(&mut self, is_test: bool) {
        let (start, line) = (self.at, self.line());
        let before = |back| start.checked_sub(back).and_then(|at| self.tokens.get(at)).map_or("", |token| &token.text);
        let continues = before(1) == "." || before(1) == "::" && (is_name(before(2)) || before(2) == ">");
        self.at += 1;
        if !is_name(&self.tokens[start].text) || continues || self.peek(0) != "::" {
            return;
        }
        let mut path = vec![self.tokens[start].text.clone()];
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        self.found.names.push(Named { path, within: self.within.clone(), is_test, line });
    }

    /// The paths of one branch of a `use`.
    fn tree(&mut self, prefix: &[String], is_test: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.tree(&path, is_test);
                        self.at += usize::from(self.peek(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                text if is_name(text) || text == "*" => {
                    path.push(text.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
            if self.peek(0) == "as" {
                let alias = self.peek(1).to_owned();
                self.at += 2;
                return self.found_use(path, alias, is_test);
            }
        }
        let last = path.last().cloned().unwrap_or_default();
        self.found_use(path, last, is_test);
    }

    fn found_use(&mut self, path: Vec<String>, name: String, is_test: bool) {
        if self.binds {
            self.found.bound.insert(name, path.clone());
        }
        self.found.names.push(Named { path, within: self.within.clone(), is_test, line: self.line() });
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and every other sign on its own.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    let sign = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        match (sign(at), sign(at + 1)) {
            ('/', '/') => at += chars[at..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => at = after_comment(&chars, at),
            ('"', _) => at = after_string(&chars, at),
            // A lifetime is no character: 'a' ends after one, and an escape begins with a backslash.
            ('\'', '\\') => at = (at + 3..chars.len()).find(|at| sign(*at) == '\'').map_or(chars.len(), |at| at + 1),
            ('\'', _) if sign(at + 2) == '\'' => at += 3,
            (':', ':') => {
                tokens.push(Token { text: "::".to_owned(), line });
                at += 2;
            }
            (c, _) if c.is_alphanumeric() || c == '_' => {
                at += chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let text: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                match text.as_str() {
                    "r" | "br" if sign(at + hashes) == '"' => at = after_raw_string(&chars, at + hashes, hashes),
                    "b" | "c" if sign(at) == '"' => at = after_string(&chars, at),
                    _ => tokens.push(Token { text, line }),
                }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.to_string(), line });
                }
                at += 1;
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match chars.get(at..at + 2) {
            Some(['/', '*']) => (depth, at) = (depth + 1, at + 2),
            Some(['*', '/']) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn after_raw_string(chars: &[char], quote: usize, hashes: usize) -> usize {
    let ends =
        |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (quote + 1..chars.len()).find(ends).map_or(chars.len(), |at| at + 1 + hashes)
}
