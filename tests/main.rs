//! The whole program as a user meets it, and the conventions of the tree.
#![allow(clippy::unwrap_used)]

mod support; // a temporary folder, the built `mr2`, small run files

mod audit; // anyone's predictions → the class-wise report
mod quickstart; // the README's first command at smoke size: run, reuse, restart
mod report; // Markdown, LaTeX and HTML from run folders; names that need escaping
mod tidy; // dependency arrows, links, file heads, experiment files
