//! Words of the user (class names, run names, paths) made safe for each format.
//!
//! Control characters and marks that reverse the reading direction become U+FFFD everywhere: a
//! class name must neither steer a terminal nor make a row read as another one.

/// One line without control characters or direction overrides.
pub fn terminal(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn printable(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Text or attribute value of HTML and SVG.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().map(printable) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text inside a paragraph or a table cell of GitHub's Markdown.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().map(printable) {
        match c {
            // Entities, since some renderers read a backslash before < as text and keep the tag.
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '$' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text of a LaTeX document.
pub fn latex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().map(printable).peekable();
    while let Some(c) = characters.next() {
        // c̄ and s̄ are a letter and a line above it.
        if c.is_ascii_alphabetic() && characters.next_if_eq(&'\u{304}').is_some() {
            escaped.push_str(&format!("\\ensuremath{{\\bar{{{c}}}}}"));
            continue;
        }
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '"' => escaped.push_str("\\textquotedbl{}"),
            '`' => escaped.push_str("\\textasciigrave{}"),
            // A bracket could be read as the optional argument of the line break before it.
            '[' => escaped.push_str("{[}"),
            ']' => escaped.push_str("{]}"),
            '–' => escaped.push_str("--"),
            '…' => escaped.push_str("\\ldots{}"),
            // Signs and letters that pdfLaTeX knows as mathematics only.
            c => match mathematics(c) {
                Some(command) => {
                    escaped.push_str("\\ensuremath{");
                    escaped.push_str(command);
                    escaped.push('}');
                }
                None => escaped.push(c),
            },
        }
    }
    escaped
}

/// The command for a sign that only exists in mathematics.
fn mathematics(c: char) -> Option<&'static str> {
    Some(match c {
        '±' => "\\pm",
        '−' => "-",
        '×' => "\\times",
        '→' => "\\to",
        '≤' => "\\le",
        '≥' => "\\ge",
        '≠' => "\\ne",
        '≈' => "\\approx",
        '²' => "^2",
        '‖' => "\\|",
        'α' => "\\alpha",
        'γ' => "\\gamma",
        'λ' => "\\lambda",
        'μ' => "\\mu",
        'ρ' => "\\rho",
        'ε' => "\\varepsilon",
        'ℓ' => "\\ell",
        '\u{fffd}' => "\\square",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "<script>&_%";

    #[test]
    fn a_class_named_like_a_script_is_text_in_every_format() {
        assert_eq!(html(NAME), "&lt;script&gt;&amp;_%");
        assert_eq!(markdown(NAME), "&lt;script&gt;&amp;\\_%");
        assert_eq!(latex(NAME), "\\textless{}script\\textgreater{}\\&\\_\\%");
        assert_eq!(terminal(NAME), NAME);
    }

    #[test]
    fn table_borders_and_commands_in_names_are_text() {
        assert_eq!(markdown("a|b`c*[x](y)"), "a\\|b\\`c\\*\\[x\\](y)");
        assert_eq!(
            latex(r"\input{x}^~"),
            "\\textbackslash{}input\\{x\\}\\textasciicircum{}\\textasciitilde{}"
        );
        assert_eq!(html("\"'"), "&quot;&#39;");
    }

    #[test]
    fn a_letter_with_a_line_above_is_mathematics() {
        assert_eq!(
            latex("s\u{304}, c\u{304} = 2"),
            "\\ensuremath{\\bar{s}}, \\ensuremath{\\bar{c}} = 2"
        );
    }

    /// What a Rust file says outside comments and tests.
    fn spoken(path: &std::path::Path) -> String {
        let source = std::fs::read_to_string(path).expect("a source file");
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        let code = program
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        code.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_sign_that_reports_are_written_with_is_one_that_pdflatex_knows() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders: Vec<_> = [
            "experiments/src/report",
            "experiments/src/commands/audit",
            "experiments/src/grid/report",
            "experiments/tables",
            "crates/mr2-train/src/report",
        ]
        .map(|folder| root.join(folder))
        .into();
        let mut bars = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a source folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path
                    .extension()
                    .is_some_and(|end| end == "rs" || end == "toml")
                {
                    // The rule of a table, on terminals only.
                    let text = latex(&spoken(&path).replace('─', ""));
                    let unknown: String = text.chars().filter(|c| !c.is_ascii()).collect();
                    assert_eq!(unknown, "", "in {}", path.display());
                    bars += text.matches("\\bar{").count();
                }
            }
        }
        assert!(bars > 0, "s̄ and c̄ stand in warnings");
    }

    #[test]
    fn control_characters_cannot_steer_a_terminal_or_break_a_row() {
        assert_eq!(
            terminal("a\u{1b}[31mb\nc\u{202e}d"),
            "a\u{fffd}[31mb c\u{fffd}d"
        );
        assert_eq!(markdown("a\nb"), "a b");
    }
}
