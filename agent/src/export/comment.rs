//! Notes as comments in an exported text.
//!
//! Input: lines, which may hold what a container chose, escaped ([`crate::text`]). Output: comments, each line of them behind `mark`.
//! Failure: none.

/// Longest line, where words allow it, in characters.
const WIDTH: usize = 110;

/// `lines`, each as it is.
pub(super) fn lines(mark: &str, lines: &[String]) -> String {
    let line = |line| [mark, " ", line, "\n"];
    lines.iter().map(String::as_str).flat_map(line).collect()
}

/// `notes` as a list, broken between words.
pub(super) fn notes(mark: &str, notes: &[String]) -> String {
    let mut text = String::new();
    for note in notes {
        let mut line = format!("{mark} -");
        let mut is_first = true;
        for word in note.split(' ') {
            if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = format!("{mark}  ");
            }
            line.push(' ');
            line.push_str(word);
            is_first = false;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_broken_between_words_and_stay_behind_their_mark() {
        let long = "word ".repeat(40) + "end";
        let text = notes("#", &["short".to_owned(), long.clone(), "x".repeat(300)]);
        assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
        assert!(text.starts_with("# - short\n# - word word"), "{text}");
        let broken = text.lines().filter(|line| line.starts_with("#   ")).count();
        assert_eq!(broken, 1, "{text}");
        let words: Vec<&str> = text
            .split_whitespace()
            .filter(|word| !matches!(*word, "#" | "-"))
            .collect();
        assert_eq!(words.join(" "), format!("short {long} {}", "x".repeat(300)));
    }
}
